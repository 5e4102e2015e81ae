// FakeLuo: one LUO session for a unit test, on a kernel that has no LUO. It answers the session
// ioctls themselves, so the code under test is all of the real code above them.
//
//   FakeLuo luo;
//   absl::Status ran = luo.Run([&] {
//     LiveUpdateSession session(luo.NewSession());
//     EXPECT_EQ(session.PreserveFd(memfd, 1), absl::OkStatus());
//   });
//   if (!ran.ok()) GTEST_SKIP() << ran;   // this system has no seccomp notifications
//
// How: Run() gives `body` a thread with a seccomp filter that hands LUO's ioctls, and no others, to
// Run()'s own thread (seccomp_unotify(2)), which does what Linux 7.3,
// kernel/liveupdate/luo_session.c does. What it does not do: count references to pages, check
// seals, survive anything.
#ifndef LUO_KERNEL_CLIENT_FAKE_LUO_H_
#define LUO_KERNEL_CLIENT_FAKE_LUO_H_

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <map>
#include <mutex>

#include "absl/status/status.h"
#include "base/unique_fd.h"

struct seccomp_notif;
struct seccomp_notif_resp;

namespace luo {

class FakeLuo {
 public:
  // Runs `body` where the session's ioctls are answered; all else works as ever. Threads that it
  // leaves behind get no answers any more. Without running it: what the system lacks.
  absl::Status Run(const std::function<void()>& body);

  // For `body`, and after it:

  // An empty session in the place of the one before. Its descriptor is the caller's.
  vmm::UniqueFd NewSession();
  // Whether no descriptor of the session is left; the kernel would unpreserve or finish it.
  bool session_closed() const;
  // The file under `token`, which stays the session's; -1 when there is none.
  int File(uint64_t token) const;
  size_t file_count() const;
  // Changes what was preserved.
  void Put(uint64_t token, vmm::UniqueFd file);
  vmm::UniqueFd Take(uint64_t token);
  // What PRESERVE_FD and RETRIEVE_FD of `token` fail with from now on; 0: no more.
  void Fail(uint64_t token, int error);

 private:
  void Answer(const seccomp_notif& request, seccomp_notif_resp& response);
  // These want mutex_ held. The ints are errnos, or 0.
  bool IsSession(int fd) const;
  int AnswerPreserve(uint64_t argument);
  int AnswerRetrieve(uint64_t argument);

  mutable std::mutex mutex_;
  // The session's descriptor is the other end of this pipe.
  vmm::UniqueFd watch_;
  std::map<uint64_t, vmm::UniqueFd> files_;
  std::map<uint64_t, int> errors_;
};

}  // namespace luo

#endif  // LUO_KERNEL_CLIENT_FAKE_LUO_H_
