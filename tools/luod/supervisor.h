// The supervisor: luod is two processes that share one table of file descriptors, so that luod may
// be killed at any time without a guest being lost.
//
//   return Supervise([](bool restarted) { return RunLuod(restarted); });
//
// The last close of a retrieved session frees guest memory (Linux 7.3, luo_session_release()), and
// between its retrieval and the resumed VM, or for as long as a VM cannot be resumed, luod alone
// may hold it. So Supervise() runs `worker` in a child made by clone(CLONE_FILES): from the instant
// the kernel installs a descriptor it is held by both. When the worker is killed, the supervisor
// closes all descriptors but the sessions (VMs see luod gone and cancel an update) and starts a new
// worker, which takes the sessions over by TakeHeldSessions(). When the supervisor is killed, the
// worker gets SIGTERM and decides as for any SIGTERM. Only when both are killed at once are held
// sessions lost.
//
// Needs /proc.
#ifndef TOOLS_LUOD_SUPERVISOR_H_
#define TOOLS_LUOD_SUPERVISOR_H_

#include <functional>
#include <map>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace vmm {

// A session's link: "anon_inode:" and the file's name from Linux 7.3, luo_session_getfile().
inline constexpr absl::string_view kSessionLink = "anon_inode:[luo_session] ";

// Runs `worker` until it returns, again each time a signal kills it, and returns its exit code.
// `restarted` says whether an earlier worker was killed. SIGTERM and SIGINT are passed on. SIGTERM,
// SIGINT and SIGCHLD are blocked here and in the worker. Call it before there is a thread or any
// descriptor past the standard streams. `kept` is how the link in /proc/self/fd of a descriptor
// begins that outlives a worker; what follows is its name.
int Supervise(const std::function<int(bool restarted)>& worker,
              absl::string_view kept = kSessionLink);

// The descriptors whose links begin with `kept` that an earlier worker left, by name. Each is the
// caller's from now on: call it once, before opening one's own.
absl::StatusOr<std::map<std::string, UniqueFd>> TakeHeldSessions(
    absl::string_view kept = kSessionLink);

}  // namespace vmm

#endif  // TOOLS_LUOD_SUPERVISOR_H_
