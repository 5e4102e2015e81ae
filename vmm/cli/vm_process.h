// VmProcess: the life of one VM in one vmm process, from a built machine to its end: console,
// signals, luod, and what the exit code says.
//
//   ASSIGN_OR_RETURN(auto process, VmProcess::Create(config, serial));
//   ASSIGN_OR_RETURN(auto machine, Machine::Boot(config, process->MachineEnvironment()));
//   return process->Run(std::move(machine), start);
//
// One thread makes it and runs it.
#ifndef VMM_CLI_VM_PROCESS_H_
#define VMM_CLI_VM_PROCESS_H_

#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "devices/console/console.h"
#include "vmm/cli/end_latch.h"
#include "vmm/cli/name_lock.h"
#include "vmm/machine/config.h"
#include "vmm/machine/machine.h"

namespace vmm {

// One line on stderr, with the program's name before it.
void PrintNotice(const std::string& line);

// Says that `signal` ended the VM; returns vmm's exit code for it.
int ExitCodeOfSignal(int signal);

class VmProcess {
 public:
  // How the machine came to be, as luod is told.
  struct Start {
    bool resumed = false;
    // Called when all is there that the guest wants, right before the vCPUs run; where it fails
    // they do not. A resumed VM's state is marked as consumed here.
    std::function<absl::Status()> before_running = [] { return absl::OkStatus(); };
    // Called when the vCPUs run; a resumed VM finishes its session here.
    std::function<void()> on_running = [] {};
  };

  // Takes the VM's name, opens its console. Before any other thread exists.
  static absl::StatusOr<std::unique_ptr<VmProcess>> Create(const MachineConfig& config);

  Machine::Environment MachineEnvironment();

  // Runs `machine` until it ends or a signal ends it, and takes everything down. Returns the exit
  // code (exit_codes.h); an error means that the guest has not run. Does not return where a reset
  // starts the guest afresh: this process then becomes a new `vmm run`.
  absl::StatusOr<int> Run(std::unique_ptr<Machine> machine, const Start& start);

 private:
  VmProcess(MachineConfig config, UniqueFd signals, NameLock name, std::unique_ptr<EndLatch> end,
            std::unique_ptr<Console> console);

  // Both: 0 when the machine ended, else the signal that ends the VM.
  absl::StatusOr<int> RunUntilEnd(Machine& machine, const Start& start);
  int WaitForEnd(Machine& machine);
  int ExitCodeOf(const MachineEnd& end) const;
  // Returns only where it failed.
  int RunAfresh() const;

  const MachineConfig config_;
  const UniqueFd signals_;
  const NameLock name_;
  const std::unique_ptr<EndLatch> end_;
  std::unique_ptr<Console> console_;
};

}  // namespace vmm

#endif  // VMM_CLI_VM_PROCESS_H_
