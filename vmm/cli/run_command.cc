#include <algorithm>
#include <filesystem>
#include <memory>
#include <thread>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/signals.h"
#include "vmm/cli/vm_process.h"

namespace vmm {
namespace {

constexpr int kMaxPrefaultThreads = 16;

// The config outlives this process's working directory: a reset and an update start from it again.
void MakeAbsolute(std::string& path) {
  std::error_code error;
  std::filesystem::path absolute = std::filesystem::absolute(path, error);
  if (!path.empty() && !error) path = absolute.lexically_normal().string();
}

// file:PATH and socket:PATH, too.
void MakeSerialAbsolute(std::string& serial) {
  const size_t colon = serial.find(':');
  if (colon == std::string::npos) return;
  std::string path = serial.substr(colon + 1);
  MakeAbsolute(path);
  serial = absl::StrCat(serial.substr(0, colon + 1), path);
}

// kCancelled when a signal came that ends the VM.
absl::Status Prefault(const GuestMemory& memory) {
  const int threads =
      std::clamp(static_cast<int>(std::thread::hardware_concurrency()), 1, kMaxPrefaultThreads);
  const uint64_t total = memory.size();
  uint64_t next_tenth = 1;
  return memory.Prefault(threads, [&](uint64_t done) {
    if (PendingEndSignal() != 0) return absl::CancelledError("a signal came while prefaulting");
    if (done * 10 < total * next_tenth) return absl::OkStatus();
    next_tenth = done * 10 / total + 1;
    PrintNotice(absl::StrCat("prefault: ", done >> 20, " of ", total >> 20, " MiB"));
    return absl::OkStatus();
  });
}

absl::StatusOr<int> RunVm(MachineConfig config) {
  MakeAbsolute(config.kernel);
  MakeAbsolute(config.initramfs);
  MakeSerialAbsolute(config.serial);
  RETURN_IF_ERROR(config.Validate());
  ASSIGN_OR_RETURN(std::unique_ptr<VmProcess> process, VmProcess::Create(config));
  ASSIGN_OR_RETURN(std::unique_ptr<Machine> machine,
                   Machine::Boot(config, process->MachineEnvironment()));
  if (config.prefault) {
    absl::Status status = Prefault(machine->memory());
    if (absl::IsCancelled(status)) return ExitCodeOfSignal(PendingEndSignal());
    RETURN_IF_ERROR(status);
  }
  return process->Run(std::move(machine), {});
}

}  // namespace

int Run(MachineConfig config) {
  absl::StatusOr<int> code = RunVm(std::move(config));
  if (code.ok()) return *code;
  PrintNotice(std::string(code.status().message()));
  return kExitError;
}

}  // namespace vmm
