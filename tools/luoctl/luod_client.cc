#include "tools/luoctl/luod_client.h"

#include <errno.h>
#include <sys/socket.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/live_update/socket.h"

namespace vmm {
namespace {

// Of the only request on its connection.
constexpr uint32_t kRequest = 1;

}  // namespace

absl::StatusOr<LuodClient> LuodClient::Connect(const std::string& path) {
  absl::StatusOr<UniqueFd> socket = ConnectTo(path);
  if (!socket.ok()) return Annotate(socket.status(), "luod cannot be reached");
  return LuodClient(*std::move(socket));
}

absl::StatusOr<Message> LuodClient::Ask(
    Message request, const std::function<absl::Status(const Message&)>& on_part) {
  request.request = kRequest;
  lost_ = true;
  if (request.type != MessageType::kUpgrade) {
    const timeval patience = {.tv_sec = patience_.count(), .tv_usec = 0};
    setsockopt(socket_.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  }
  RETURN_IF_ERROR(SendMessage(socket_.get(), request));
  for (;;) {
    absl::StatusOr<Message> message = ReceiveMessage(socket_.get());
    if (StatusErrno(message.status()) == EAGAIN) {
      return absl::DeadlineExceededError(
          absl::StrCat("luod has not answered for ", patience_.count(), " s: see its log"));
    }
    if (!message.ok()) return Annotate(message.status(), "luod");
    if (message->type == MessageType::kOk || message->type == MessageType::kError) {
      lost_ = false;
      RETURN_IF_ERROR(StatusOfAnswer(*message));
      return message;
    }
    RETURN_IF_ERROR(on_part(*message));
  }
}

}  // namespace vmm
