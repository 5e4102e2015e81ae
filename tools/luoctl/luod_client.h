// LuodClient: luoctl's conversation with luod.
//
//   ASSIGN_OR_RETURN(LuodClient luod, LuodClient::Connect(kDefaultSocketPath));
//   ASSIGN_OR_RETURN(Message answer, luod.Ask(Message{.type = MessageType::kStatus}, on_part));
//
// Blocking, for one thread.
#ifndef TOOLS_LUOCTL_LUOD_CLIENT_H_
#define TOOLS_LUOCTL_LUOD_CLIENT_H_

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
  explicit LuodClient(UniqueFd socket) : socket_(std::move(socket)) {}

  // Sends `request` and reads until its OK, which is returned, or its ERROR, which becomes the
  // status. What comes before goes to `on_part`; an error of that ends it. When luod goes away
  // lost() is true.
  absl::StatusOr<Message> Ask(Message request,
                              const std::function<absl::Status(const Message&)>& on_part);

  bool lost() const { return lost_; }

 private:
  UniqueFd socket_;
  bool lost_ = false;
};

}  // namespace vmm

#endif  // TOOLS_LUOCTL_LUOD_CLIENT_H_
