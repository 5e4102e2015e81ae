#include "vmm/machine/test_machine.h"

#include <fcntl.h>

#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/boot/test_images.h"
#include "vmm/boot/test_kernel.h"

namespace vmm {

TestSurroundings::TestSurroundings() : kernel_(FileWith(TestKernel())) {}

MachineConfig TestSurroundings::ConfigWithCommands(absl::string_view commands) const {
  MachineConfig config;
  config.kernel = absl::StrCat("/proc/self/fd/", kernel_.get());
  config.command_line = std::string(commands);
  config.memory_bytes = kMinMemoryBytes;
  config.huge_pages = HugePages::kOff;
  return config;
}

Machine::Environment TestSurroundings::environment() {
  return {.serial_output = this,
          .on_end =
              [this](MachineEnd end) {
                std::lock_guard<std::mutex> lock(mutex_);
                if (!end_.has_value()) end_ = std::move(end);
                changed_.notify_all();
              },
          .notice =
              [this](std::string notice) {
                std::lock_guard<std::mutex> lock(mutex_);
                notices_.push_back(std::move(notice));
              }};
}

void TestSurroundings::Write(absl::Span<const uint8_t> bytes) {
  std::lock_guard<std::mutex> lock(mutex_);
  output_.append(bytes.begin(), bytes.end());
  changed_.notify_all();
}

std::string TestSurroundings::WaitForOutput(size_t size) {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, kPatience, [&] { return output_.size() >= size; });
  return output_;
}

std::optional<MachineEnd::Reason> TestSurroundings::WaitForEnd() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait_for(lock, kPatience, [this] { return end_.has_value(); });
  if (!end_.has_value()) return std::nullopt;
  return end_->reason;
}

std::vector<std::string> TestSurroundings::notices() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return notices_;
}

bool WaitUntil(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

uint32_t CountOf(const Machine& machine) {
  return machine.memory().Load<uint32_t>(kTestKernelCounter).value_or(0);
}

bool Counts(const Machine& machine) {
  const uint32_t before = CountOf(machine);
  return WaitUntil([&] { return CountOf(machine) != before; });
}

absl::StatusOr<GuestMemory> SameMemory(const GuestMemory& memory) {
  std::vector<MemfdRegion> regions;
  for (const MemfdRegion& region : memory.regions()) {
    UniqueFd fd(fcntl(region.fd(), F_DUPFD_CLOEXEC, 0));
    ASSIGN_OR_RETURN(MemfdRegion again, MemfdRegion::FromFd(region.range(), std::move(fd)));
    regions.push_back(std::move(again));
  }
  return GuestMemory::FromRegions(std::move(regions));
}

absl::StatusOr<std::unique_ptr<Machine>> SaveAndRestore(std::unique_ptr<Machine> machine,
                                                        TestSurroundings& surroundings) {
  ASSIGN_OR_RETURN(Tree state, machine->Save());
  ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, EncodeTree(state));
  ASSIGN_OR_RETURN(GuestMemory memory, SameMemory(machine->memory()));
  machine.reset();
  ASSIGN_OR_RETURN(Tree decoded, DecodeTree(bytes));
  ASSIGN_OR_RETURN(MachineConfig config, SavedConfig(decoded));
  return Machine::Restore(config, decoded, std::move(memory), surroundings.environment());
}

}  // namespace vmm
