#include <fcntl.h>

#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "luo_kernel/client/live_update_client.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/vm_process.h"
#include "vmm/live_update/resume.h"
#include "vmm/state/state_memfd.h"

namespace vmm {
namespace {

absl::StatusOr<int> ResumeVm(const ResumeOptions& options) {
  // Taken over from luod, and not to be passed on any further.
  if (fcntl(options.session_fd, F_SETFD, FD_CLOEXEC) < 0) {
    return ErrnoStatus(errno, absl::StrCat("--session-fd ", options.session_fd));
  }
  luo::LiveUpdateSession session{UniqueFd(options.session_fd)};

  ASSIGN_OR_RETURN(RetrievedVm vm, RetrieveVm(session, [](absl::string_view node) {
                     PrintNotice(absl::StrCat("state node ", node, " is unknown: skipped"));
                   }));
  ASSIGN_OR_RETURN(MachineConfig config, SavedConfig(vm.state));
  if (!options.serial.empty()) config.serial = options.serial;
  config.luod_socket = options.luod_socket;
  ASSIGN_OR_RETURN(std::unique_ptr<VmProcess> process, VmProcess::Create(config));
  ASSIGN_OR_RETURN(
      std::unique_ptr<Machine> machine,
      Machine::Restore(config, vm.state, std::move(vm.memory), process->MachineEnvironment()));
  return process->Run(
      std::move(machine),
      {.resumed = true,
       // From here on guest RAM moves away from the saved state; nobody may resume from it again.
       .before_running = [&vm] { return MarkConsumed(vm.state_memfd.get()); },
       .on_running =
           [&session] {
             absl::Status status = session.Finish();
             if (!status.ok()) PrintNotice(std::string(status.message()));
           }});
}

}  // namespace

int Resume(const ResumeOptions& options) {
  absl::StatusOr<int> code = ResumeVm(options);
  if (code.ok()) return *code;
  PrintNotice(absl::StrCat("resume: ", code.status().message()));
  return kExitError;
}

}  // namespace vmm
