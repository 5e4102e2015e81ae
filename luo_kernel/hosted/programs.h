// The programs of a hosted instance as processes: starting one under a seccomp filter, and ending
// all, whatever they have started.
//
//   RETURN_IF_ERROR(AdoptOrphans());
//   ASSIGN_OR_RETURN(Program program, StartProgram({"sh", "-c", "exit 3"}, {}));
//   ...answer program.listener until waitpid(program.process) says it ended...
//   EndDescendants();
//
// Of the process as a whole: it should have no other children. One thread.
#ifndef LUO_KERNEL_HOSTED_PROGRAMS_H_
#define LUO_KERNEL_HOSTED_PROGRAMS_H_

#include <signal.h>
#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace luo {

struct Program {
  pid_t process = 0;
  vmm::UniqueFd listener;  // for a SeccompListener
};

// From now on processes whose parent ended become this process's children, if they descend from it.
absl::Status AdoptOrphans();

// Descriptors for this process as many as it may have, for it holds one for each session and file.
// Programs get the limit as it was.
void RaiseFileLimit();

// Runs `command`, found by $PATH, with no signal blocked and `environment` on top of this process's
// own. It is killed when this process dies. Errors: ExplainFilterError()'s; exec's errno.
absl::StatusOr<Program> StartProgram(
    const std::vector<std::string>& command,
    const std::vector<std::pair<std::string, std::string>>& environment);

// Kills every process that descends from this one, and waits until none is left.
void EndDescendants();

// What a shell says of a process that ended so: its exit code, or 128 and the signal.
int ExitCode(int wait_status);

// Blocks `signals` and gives the descriptor on which they arrive.
absl::StatusOr<vmm::UniqueFd> TakeSignals(const std::vector<int>& signals);

}  // namespace luo

#endif  // LUO_KERNEL_HOSTED_PROGRAMS_H_
