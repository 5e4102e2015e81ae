// Sessions: what luod asks of the Live Update Orchestrator. KernelSessions passes each call on to a
// luo::LiveUpdateClient; luod's unit tests put a fake in its place.
//
//   ASSIGN_OR_RETURN(luo::LiveUpdateSession session, sessions.Create("vm-db"));
//   RETURN_IF_ERROR(sessions.Preserve(session, memfd.get(), kStateToken));
//
// Errors and the life of a session are those of luo_kernel/client/live_update_client.h.
#ifndef TOOLS_LUOD_SESSIONS_H_
#define TOOLS_LUOD_SESSIONS_H_

#include <stdint.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "luo_kernel/client/live_update_client.h"

namespace vmm {

class Sessions {
 public:
  virtual ~Sessions() = default;
  virtual absl::StatusOr<luo::LiveUpdateSession> Create(const std::string& name) = 0;
  virtual absl::StatusOr<luo::LiveUpdateSession> Retrieve(const std::string& name) = 0;
  virtual absl::Status Preserve(luo::LiveUpdateSession& session, int fd, uint64_t token) = 0;
  virtual absl::StatusOr<UniqueFd> RetrieveFile(luo::LiveUpdateSession& session,
                                                uint64_t token) = 0;
  virtual absl::Status Finish(luo::LiveUpdateSession& session) = 0;
};

class KernelSessions final : public Sessions {
 public:
  // `client` must outlive this.
  explicit KernelSessions(luo::LiveUpdateClient* client) : client_(client) {}

  absl::StatusOr<luo::LiveUpdateSession> Create(const std::string& name) override {
    return client_->CreateSession(name);
  }
  absl::StatusOr<luo::LiveUpdateSession> Retrieve(const std::string& name) override {
    return client_->RetrieveSession(name);
  }
  absl::Status Preserve(luo::LiveUpdateSession& session, int fd, uint64_t token) override {
    return session.PreserveFd(fd, token);
  }
  absl::StatusOr<UniqueFd> RetrieveFile(luo::LiveUpdateSession& session, uint64_t token) override {
    return session.RetrieveFd(token);
  }
  absl::Status Finish(luo::LiveUpdateSession& session) override { return session.Finish(); }

 private:
  luo::LiveUpdateClient* client_;
};

}  // namespace vmm

#endif  // TOOLS_LUOD_SESSIONS_H_
