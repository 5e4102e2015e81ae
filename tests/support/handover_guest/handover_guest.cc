// Boots a Linux guest into whose memory luo_kernel has written a handover, as if a kernel before it
// had been there, and sees whether the guest takes it for that.
//
//   handover_guest KERNEL INITRAMFS [retrieve|leave]
//
// The kernel is a bzImage with KHO and LUO, the initramfs that of tests/support/live_update_files,
// whose files (files.h) are what is handed over. `retrieve` (the default): the guest retrieves and
// checks each of them. `leave`: it finishes the sessions without, so that its kernel has to free
// them. The guest's output goes to stdout. Exit code 0: the guest found everything, and got back
// exactly the pages that it was to get back.
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <condition_variable>
#include <cstddef>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "devices/legacy/serial_output.h"
#include "guest_memory/guest_memory.h"
#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/kho/arena.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/kho/physical_memory.h"
#include "luo_kernel/luo/image.h"
#include "luo_kernel/memfd/memfd_image.h"
#include "tests/support/live_update_files/files.h"
#include "vmm/machine/machine.h"

namespace vmm {
namespace {

using luo::Arena;
using luo::OutgoingHandover;
using luo::PhysicalAddress;
using luo::PhysicalRange;

constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGuestMemory = 512 * kMiB;
// The kernel goes to 16 MiB and what it unpacks to ends far below 64 MiB, its initramfs to the end
// of memory. In the scratch regions it allocates until it knows what is preserved; they are aligned
// to 4 MiB as the kernel has its own (kexec_handover.c, SCRATCH_ALIGNMENT_BYTES).
constexpr PhysicalRange kLowScratch{PhysicalAddress(64 * kMiB), 32 * kMiB};
constexpr PhysicalRange kScratch{PhysicalAddress(96 * kMiB), 128 * kMiB};
constexpr PhysicalRange kArena{PhysicalAddress(256 * kMiB), 128 * kMiB};
// SETUP_KEXEC_KHO: Linux 7.3, arch/x86/include/uapi/asm/setup_data.h.
constexpr uint32_t kSetupKexecKho = 10;
// Of what is preserved: KHO's tree and the page of FLBs, which the kernel keeps for good, and LUO's
// own structure, which it has freed before any program runs.
constexpr uint64_t kPagesNotSeen = 3;
constexpr uint64_t kPage = 4096;
constexpr int64_t kFreeSlackKib = 2048;

// A guest's RAM as KHO writes it, before any vCPU runs.
class GuestPhysicalMemory final : public luo::WritablePhysicalMemory {
 public:
  explicit GuestPhysicalMemory(const GuestMemory& memory) : memory_(memory) {}

  absl::StatusOr<absl::Span<const std::byte>> Read(PhysicalAddress address,
                                                   uint64_t size) const override {
    return Find(address, size);
  }
  absl::StatusOr<absl::Span<std::byte>> Write(PhysicalAddress address, uint64_t size) override {
    return Find(address, size);
  }
  bool Contains(PhysicalAddress address, uint64_t size) const override {
    return Find(address, size).ok();
  }
  uint64_t size() const override { return memory_.size(); }

 private:
  absl::StatusOr<absl::Span<std::byte>> Find(PhysicalAddress address, uint64_t size) const {
    for (const MemfdRegion& region : memory_.regions()) {
      const PhysicalRange range{PhysicalAddress(region.range().start.value()), region.range().size};
      if (!range.Contains(address, size)) continue;
      auto* host = reinterpret_cast<std::byte*>(region.host_address());
      return absl::MakeSpan(host + (address.value() - range.start.value()), size);
    }
    return absl::OutOfRangeError(absl::StrFormat("%#x is not RAM", address.value()));
  }

  const GuestMemory& memory_;
};

luo::MemfdContents ContentsOf(const TestFile& file) {
  return {.position = file.position,
          .size = file.size,
          .seals = file.seals,
          .read =
              [file](uint64_t offset, absl::Span<std::byte> out) {
                FillTestFile(file, offset,
                             absl::MakeSpan(reinterpret_cast<uint8_t*>(out.data()), out.size()));
                return absl::OkStatus();
              },
          .max_order = file.huge_pages ? 9u : 0u};
}

// Writes it all and returns what to tell the kernel; `preserved_pages` is how much it is.
absl::StatusOr<std::vector<SetupData>> WriteHandover(const GuestMemory& guest,
                                                     uint64_t* preserved_pages) {
  GuestPhysicalMemory memory(guest);
  ASSIGN_OR_RETURN(Arena arena, Arena::Create(&memory, kArena));
  ASSIGN_OR_RETURN(OutgoingHandover outgoing,
                   OutgoingHandover::Create(&memory, &arena, {kLowScratch, kScratch}));
  std::map<std::string, size_t> place;
  luo::LuoImage image{.number = 1};
  for (const std::string& name : SessionsOf(TestFiles())) {
    place[name] = image.sessions.size();
    image.sessions.push_back({.name = name});
  }
  for (const TestFile& file : TestFiles()) {
    ASSIGN_OR_RETURN(PhysicalAddress data, luo::WriteMemfd(outgoing, ContentsOf(file)));
    image.sessions[place[file.session]].files.push_back(
        {.compatible = luo::abi::kMemfdCompatible, .data = data.value(), .token = file.token});
  }
  RETURN_IF_ERROR(luo::WriteLuoV5(outgoing, image));
  *preserved_pages = outgoing.preserved_pages();
  const luo::abi::KhoData& data = outgoing.data();
  const auto* bytes = reinterpret_cast<const uint8_t*>(&data);
  return std::vector<SetupData>{
      {.type = kSetupKexecKho, .data = std::vector<uint8_t>(bytes, bytes + sizeof(data))}};
}

// Shows what the guest prints, keeps it, and waits for its end.
class Surroundings final : private SerialOutput {
 public:
  Machine::Environment environment(uint64_t* preserved_pages) {
    return {.serial_output = this,
            .on_end =
                [this](MachineEnd end) {
                  std::lock_guard<std::mutex> lock(mutex_);
                  if (!end_.has_value()) end_ = std::move(end);
                  changed_.notify_all();
                },
            .notice = [](std::string) {},
            .prepare_memory =
                [preserved_pages](const GuestMemory& memory) {
                  return WriteHandover(memory, preserved_pages);
                }};
  }

  MachineEnd WaitForEnd() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return end_.has_value(); });
    return *end_;
  }

  std::string output() const {
    std::lock_guard<std::mutex> lock(mutex_);
    return output_;
  }

 private:
  void Write(absl::Span<const uint8_t> bytes) override {
    std::lock_guard<std::mutex> lock(mutex_);
    output_.append(bytes.begin(), bytes.end());
    fwrite(bytes.data(), 1, bytes.size(), stdout);
  }

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::string output_;
  std::optional<MachineEnd> end_;
};

// NAME=value of the line "MEMORY <when> ...", in KiB.
absl::StatusOr<int64_t> MemoryFact(const std::string& output, const std::string& when,
                                   const std::string& name) {
  for (absl::string_view line : absl::StrSplit(output, absl::ByAnyChar("\r\n"))) {
    if (!absl::StartsWith(line, absl::StrCat("MEMORY ", when, " "))) continue;
    for (absl::string_view word : absl::StrSplit(line, ' ')) {
      int64_t value;
      if (absl::StartsWith(word, name + "=") &&
          absl::SimpleAtoi(word.substr(name.size() + 1), &value)) {
        return value;
      }
    }
  }
  return absl::NotFoundError(absl::StrCat("the guest did not say its ", name, " ", when));
}

absl::Status CheckOutput(const std::string& output, bool leave, uint64_t preserved_pages) {
  const std::string done =
      absl::StrCat(leave ? "LEFT " : "RETRIEVED ", TestFiles().size(), " files");
  if (!absl::StrContains(output, done)) {
    return absl::FailedPreconditionError(absl::StrCat("the guest did not say: ", done));
  }
  for (const char* complaint : {"WARNING:", "BUG:", "Oops", "Unable to restore", "FAIL"}) {
    if (absl::StrContains(output, complaint)) {
      return absl::FailedPreconditionError(absl::StrCat("the guest printed ", complaint));
    }
  }
  ASSIGN_OR_RETURN(const int64_t total_before, MemoryFact(output, "before", "MemTotal"));
  ASSIGN_OR_RETURN(const int64_t total_after, MemoryFact(output, "finished", "MemTotal"));
  ASSIGN_OR_RETURN(const int64_t free_before, MemoryFact(output, "before", "Free"));
  ASSIGN_OR_RETURN(const int64_t free_after, MemoryFact(output, "finished", "Free"));
  const int64_t expected = static_cast<int64_t>((preserved_pages - kPagesNotSeen) * kPage / 1024);
  const int64_t managed = total_after - total_before;
  const int64_t freed = free_after - free_before;
  printf(
      "handover_guest: %lld pages preserved; the kernel got %lld KiB back, of %lld; %lld KiB "
      "more are free\n",
      static_cast<long long>(preserved_pages), static_cast<long long>(managed),
      static_cast<long long>(expected), static_cast<long long>(freed));
  if (managed != expected) {
    return absl::FailedPreconditionError("the kernel did not get back exactly what was preserved");
  }
  // The kernel keeps some for itself meanwhile: slabs, page tables, its CPU's list of pages.
  if (freed < expected - kFreeSlackKib) {
    return absl::FailedPreconditionError("pages that the kernel got back are not free");
  }
  return absl::OkStatus();
}

absl::Status Run(const std::string& kernel, const std::string& initramfs, bool leave) {
  MachineConfig config;
  config.name = "handover";
  config.kernel = kernel;
  config.initramfs = initramfs;
  config.command_line = absl::StrCat(
      "console=ttyS0 panic=-1 reboot=t tsc=reliable no_timer_check quiet loglevel=4 kho=on "
      "liveupdate=on live_update_files=",
      leave ? "leave" : "retrieve");
  config.memory_bytes = kGuestMemory;
  config.huge_pages = HugePages::kOff;
  uint64_t preserved_pages = 0;
  Surroundings surroundings;
  ASSIGN_OR_RETURN(std::unique_ptr<Machine> machine,
                   Machine::Boot(config, surroundings.environment(&preserved_pages)));
  machine->Resume();
  const MachineEnd end = surroundings.WaitForEnd();
  machine->Pause();
  if (end.reason != MachineEnd::Reason::kPowerOff) {
    return absl::FailedPreconditionError(absl::StrCat("the guest ended by ", end.detail));
  }
  return CheckOutput(surroundings.output(), leave, preserved_pages);
}

}  // namespace
}  // namespace vmm

int main(int argc, char** argv) {
  const std::string what = argc > 3 ? argv[3] : "retrieve";
  if (argc < 3 || argc > 4 || (what != "retrieve" && what != "leave")) {
    fprintf(stderr, "usage: handover_guest KERNEL INITRAMFS [retrieve|leave]\n");
    return 2;
  }
  const absl::Status status = vmm::Run(argv[1], argv[2], what == "leave");
  fflush(stdout);
  if (status.ok()) return 0;
  fprintf(stderr, "handover_guest: %s\n", std::string(status.message()).c_str());
  return 1;
}
