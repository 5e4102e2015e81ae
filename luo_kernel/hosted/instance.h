// Instance: a hosted machine and the programs that run on it, from power-on over any number of
// kexecs to its end: all that `luo-emulate` does after reading its command line.
//
//   absl::StatusOr<int> code = RunInstance({.boots = {{"sh", "-c", "..."}, {"./after-kexec"}}});
//
// The first boot runs the first command; it is what init is to a machine: when it ends, so does the
// instance, with everything else that runs in it. Each hosted kexec ends all programs (SIGKILL) and
// boots the next kernel, which runs the next command. A program's environment has
//   LUO_GENERATION   kexecs so far: 0, 1, ...
//   LUO_CMDLINE      the command line given to kexec_file_load(), from the first kexec on
//
// Errors are those of starting: no seccomp notifications, a command that cannot be run (ENOENT,
// EACCES), a socket that cannot be had; or, after a kexec, what the next kernel could not read.
//
// Of the process as a whole, which should have one thread and no other children.
#ifndef LUO_KERNEL_HOSTED_INSTANCE_H_
#define LUO_KERNEL_HOSTED_INSTANCE_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "luo_kernel/hosted/machine.h"

namespace luo {

struct InstanceOptions {
  // The commands, one for each boot. One that is empty runs nothing: that boot is for those who
  // join.
  std::vector<std::vector<std::string>> boots;
  // Boots past the last command run it again.
  bool repeat_last = false;
  // Where others join and inspect; "" for nowhere.
  std::string socket_path;
  HostedMachine::Options machine;
};

// Until the instance ends. The exit code: of the last boot's program, or 128 and the signal that
// killed it; 0 after a power-off, and after a kexec or restart without a command to go on with.
absl::StatusOr<int> RunInstance(InstanceOptions options);

// Runs `command` as part of the instance that listens on `socket_path`. Its exit code; 128 +
// SIGKILL where a kexec or the instance's end ended it. What it leaves running stays in the
// instance.
absl::StatusOr<int> JoinInstance(const std::string& socket_path,
                                 const std::vector<std::string>& command);

// For scripts inside an instance: loads a "kernel" and reboots into it, as kexec(8) does. Only an
// error returns. Outside an instance it does nothing but fail: what it loads is no kernel.
absl::Status KexecFromInside();

}  // namespace luo

#endif  // LUO_KERNEL_HOSTED_INSTANCE_H_
