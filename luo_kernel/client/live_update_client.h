// LiveUpdateClient and LiveUpdateSession: what a program does with Linux's Live Update Orchestrator
// (LUO).
//
//   // Old kernel:
//   ASSIGN_OR_RETURN(LiveUpdateSession session, client.CreateSession("vm-web1"));
//   RETURN_IF_ERROR(session.PreserveFd(ram_memfd, 1));
//   ...reboot(KEXEC) while some process still holds the session...
//
//   // New kernel:
//   ASSIGN_OR_RETURN(LiveUpdateSession session, client.RetrieveSession("vm-web1"));
//   ASSIGN_OR_RETURN(vmm::UniqueFd ram, session.RetrieveFd(1));
//   ...the guest runs again...
//   RETURN_IF_ERROR(session.Finish());
//
// The client hands sessions out, to one process in the system; a session is a descriptor that any
// process can use, so it can be given to another one by SCM_RIGHTS. The life of what is inside
// hangs on the session's last descriptor:
//   - created here (outgoing): its last close unpreserves everything. There is no other way to
//   unpreserve.
//   - retrieved (incoming): its last close finishes it, and a file that nobody retrieved is freed:
//   guest RAM is gone.
//
// Errors are one line, begin with what was tried, and keep the kernel's errno (vmm::StatusErrno).
// Source of all rules: Linux 7.3, include/uapi/linux/liveupdate.h and kernel/liveupdate/.
//
// Threads: the kernel serialises calls on one session; a LiveUpdateSession may be used from several
// threads as long as none moves or destroys it.
#ifndef LUO_KERNEL_CLIENT_LIVE_UPDATE_CLIENT_H_
#define LUO_KERNEL_CLIENT_LIVE_UPDATE_CLIENT_H_

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace luo {

// LIVEUPDATE_SESSION_NAME_LENGTH without its NUL. A name has 1 to this many bytes, none of them
// NUL.
inline constexpr size_t kMaxSessionNameLength = 63;

class LiveUpdateSession {
 public:
  // Owns `fd`, a session's descriptor from anywhere. Whether it is one shows at the first call;
  // Name() is a cheap one.
  explicit LiveUpdateSession(vmm::UniqueFd fd) : fd_(std::move(fd)) {}

  // Outgoing only. Keeps the file behind `fd` for the next kernel; it stays usable, but a memfd can
  // no longer change its size. Takes time that grows with the file. Notable: kAlreadyExists (the
  // token is taken), EBUSY (the file is preserved already, or retrieved and not finished), ENOENT
  // (the kernel cannot preserve this kind of file).
  absl::Status PreserveFd(int fd, uint64_t token);

  // Incoming only. The file kept under `token`, close-on-exec, charged to this process's memory
  // cgroup. A second call gives another descriptor of the same open file. An error is final: the
  // kernel never tries that token again, and the file's contents are lost. Notable: kNotFound (no
  // such token, or the session is finished).
  absl::StatusOr<vmm::UniqueFd> RetrieveFd(uint64_t token);

  // Incoming only. The kernel lets go of the files: those retrieved live on by their descriptors,
  // the others are freed.
  absl::Status Finish();

  absl::StatusOr<std::string> Name() const;

  int fd() const { return fd_.get(); }

 private:
  vmm::UniqueFd fd_;
};

class LiveUpdateClient {
 public:
  virtual ~LiveUpdateClient() = default;

  // A new, empty outgoing session. kAlreadyExists: an outgoing session has this name.
  virtual absl::StatusOr<LiveUpdateSession> CreateSession(absl::string_view name) = 0;

  // A session that the previous kernel handed over. kNotFound: none has this name, or it was
  // retrieved and closed. kInvalidArgument: somebody holds it already.
  virtual absl::StatusOr<LiveUpdateSession> RetrieveSession(absl::string_view name) = 0;
};

}  // namespace luo

#endif  // LUO_KERNEL_CLIENT_LIVE_UPDATE_CLIENT_H_
