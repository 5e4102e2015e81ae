// ResumeSpawner: starts the process that resumes a VM. ProcessSpawner does it with posix_spawn().
//
//   ASSIGN_OR_RETURN(pid_t pid, spawner.Spawn(vm.resume_argv, session.fd()));
//
// The child gets the recorded argv and "--session-fd 3 --luod SOCKET" after it, the session as
// descriptor 3, luod's standard streams, and no other descriptor. It leads a session of its own, so
// that neither the terminal nor luod's end takes the VM along.
#ifndef TOOLS_LUOD_SPAWNER_H_
#define TOOLS_LUOD_SPAWNER_H_

#include <sys/types.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace vmm {

// The descriptor under which a resuming vmm finds its session.
inline constexpr int kSessionFdOfChild = 3;

class ResumeSpawner {
 public:
  virtual ~ResumeSpawner() = default;
  // `session_fd` stays the caller's.
  virtual absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& argv, int session_fd) = 0;
};

class ProcessSpawner final : public ResumeSpawner {
 public:
  explicit ProcessSpawner(std::string socket_path) : socket_path_(std::move(socket_path)) {}

  absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& argv, int session_fd) override;

 private:
  std::string socket_path_;
};

}  // namespace vmm

#endif  // TOOLS_LUOD_SPAWNER_H_
