// LuodClient: luoctl's conversation with luod.
//
//   ASSIGN_OR_RETURN(LuodClient luod, LuodClient::Connect(kDefaultSocketPath));
//   ASSIGN_OR_RETURN(Message answer, luod.Ask(Message{.type = MessageType::kStatus}, on_part));
//
// Blocking, for one thread.
#ifndef TOOLS_LUOCTL_LUOD_CLIENT_H_
#define TOOLS_LUOCTL_LUOD_CLIENT_H_

#include <chrono>
#include <functional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "vmm/live_update/messages.h"

namespace vmm {

class LuodClient {
 public:
  // An error's text begins with what an operator has to know.
  static absl::StatusOr<LuodClient> Connect(const std::string& path);
  // luod is deaf for two minutes at most, while file systems are written back.
  explicit LuodClient(UniqueFd socket, std::chrono::seconds patience = std::chrono::minutes(3))
      : socket_(std::move(socket)), patience_(patience) {}

  // Sends `request` and reads until its OK, which is returned, or its ERROR, which becomes the
  // status. What comes before goes to `on_part`; an error of that ends it. When luod goes away, or
  // does not answer, lost() is true. UPGRADE alone may take any time.
  absl::StatusOr<Message> Ask(Message request,
                              const std::function<absl::Status(const Message&)>& on_part);

  bool lost() const { return lost_; }

 private:
  UniqueFd socket_;
  std::chrono::seconds patience_;
  bool lost_ = false;
};

}  // namespace vmm

#endif  // TOOLS_LUOCTL_LUOD_CLIENT_H_
