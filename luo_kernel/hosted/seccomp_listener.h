// SeccompListener: the supervisor's end of seccomp user notifications (seccomp_unotify(2)), for the
// system calls that stand between a program and a live update.
//
//   // In the program to be, after fork() and before exec():
//   const int listener = FilterThisThread();        // a descriptor, or a negated errno
//   // In the supervisor, which got the descriptor:
//   SeccompListener listener(std::move(fd));
//   absl::StatusOr<std::optional<SystemCall>> call = listener.Receive();
//   listener.Continue(**call);                      // the kernel does what was asked
//
// The filter holds for all that the thread starts, and cannot be taken off. It lets everything
// through but:
//   - open, openat, openat2, creat, and stat, lstat, newfstatat, statx, access, faccessat,
//     faccessat2, readlink, readlinkat: a filter cannot see paths, so all of them are notified
//     (newfstatat and statx without a path are not)
//   - ioctl of the type 0xBA, LUO's
//   - ftruncate, fallocate: LUO refuses to resize a preserved memfd
//   - reboot, kexec_load, kexec_file_load: which must never reach the kernel
// In 32-bit and x32 programs none of these is emulated: LUO's ioctls say ENOTTY there, as Linux
// does, and reboot and kexec ENOSYS.
//
// The supervisor needs Linux 5.19 or later, for SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV: a call that
// was received can only be interrupted by a signal that kills; and CAP_SYS_ADMIN or
// no_new_privs, which FilterThisThread() sets where it has to.
//
// One listener to a process: EBUSY where it has one already (a container that uses them itself, a
// luo-emulate in a luo-emulate).
//
// Threads: a listener may be used from several.
#ifndef LUO_KERNEL_HOSTED_SECCOMP_LISTENER_H_
#define LUO_KERNEL_HOSTED_SECCOMP_LISTENER_H_

#include <stdint.h>
#include <sys/types.h>

#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace luo {

// Filters the calling thread, for good. Async-signal-safe: a child may call it after a fork() of a
// program with threads.
int FilterThisThread();

// What it means that FilterThisThread() failed.
absl::Status ExplainFilterError(int error);

// One call that waits for an answer.
struct SystemCall {
  uint64_t id = 0;
  pid_t thread = 0;  // its number as the listener's process sees it
  int number = 0;    // SYS_...
  uint64_t arguments[6] = {};
};

class SeccompListener {
 public:
  explicit SeccompListener(vmm::UniqueFd fd);

  int fd() const { return fd_.get(); }

  // Blocks until there is one, unless fd() polls readable. Nothing: it is gone already, because its
  // thread was killed or interrupted.
  absl::StatusOr<std::optional<SystemCall>> Receive();

  // Whether the call still waits. If so after something was read by the thread's number, it was the
  // thread's and not another's that got its number since.
  bool Waits(const SystemCall& call) const;

  // The answers. One that comes too late, as the thread is dead, is dropped.
  void Continue(const SystemCall& call);
  void Return(const SystemCall& call, int64_t value);
  void Fail(const SystemCall& call, int error);

  // Puts `file` into the thread's table of descriptors; its number there. EMFILE; ENOENT where the
  // thread is dead.
  absl::StatusOr<int> AddFd(const SystemCall& call, int file, bool close_on_exec);
  // The same, and the number is what the call returns.
  absl::Status ReturnFd(const SystemCall& call, int file, bool close_on_exec);

 private:
  vmm::UniqueFd fd_;
};

}  // namespace luo

#endif  // LUO_KERNEL_HOSTED_SECCOMP_LISTENER_H_
