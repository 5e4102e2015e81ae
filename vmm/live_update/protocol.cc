#include "vmm/live_update/protocol.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace vmm {
namespace {

constexpr size_t kControlBytes = CMSG_SPACE(kMaxMessageFds * sizeof(int));
// A ninth descriptor must not fit into alignment padding: then the kernel says MSG_CTRUNC.
static_assert(CMSG_SPACE(kMaxMessageFds * sizeof(int)) <
              CMSG_LEN((kMaxMessageFds + 1) * sizeof(int)));

// Owns the descriptors of every SCM_RIGHTS message, so that those of a refused packet are closed.
std::vector<UniqueFd> TakeFds(msghdr& header) {
  std::vector<UniqueFd> fds;
  for (cmsghdr* control = CMSG_FIRSTHDR(&header); control != nullptr;
       control = CMSG_NXTHDR(&header, control)) {
    if (control->cmsg_level != SOL_SOCKET || control->cmsg_type != SCM_RIGHTS) continue;
    size_t count = (control->cmsg_len - CMSG_LEN(0)) / sizeof(int);
    for (size_t i = 0; i < count; ++i) {
      int fd;
      memcpy(&fd, CMSG_DATA(control) + i * sizeof(int), sizeof(int));
      fds.emplace_back(fd);
    }
  }
  return fds;
}

}  // namespace

absl::string_view MessageTypeName(MessageType type) {
  switch (type) {
    case MessageType::kOk:
      return "OK";
    case MessageType::kError:
      return "ERROR";
    case MessageType::kProgress:
      return "PROGRESS";
    case MessageType::kRegister:
      return "REGISTER";
    case MessageType::kPing:
      return "PING";
    case MessageType::kPrepare:
      return "PREPARE";
    case MessageType::kFreeze:
      return "FREEZE";
    case MessageType::kCancel:
      return "CANCEL";
    case MessageType::kStatus:
      return "STATUS";
    case MessageType::kUpgrade:
      return "UPGRADE";
    case MessageType::kCancelUpgrade:
      return "CANCEL-UPGRADE";
    case MessageType::kRetry:
      return "RETRY";
    case MessageType::kAbandon:
      return "ABANDON";
    case MessageType::kVmStatus:
      return "VM-STATUS";
  }
  return "";
}

absl::StatusOr<std::vector<uint8_t>> EncodeMessage(const Message& message) {
  ASSIGN_OR_RETURN(std::vector<uint8_t> payload, EncodeTree(message.body));
  if (sizeof(MessageHeader) + payload.size() > kMaxMessageBytes ||
      message.fds.size() > kMaxMessageFds) {
    return absl::InvalidArgumentError(
        absl::StrCat(MessageTypeName(message.type), " message of ", payload.size(), " bytes and ",
                     message.fds.size(), " descriptors is too large"));
  }
  MessageHeader header = {
      .magic = kMessageMagic,
      .version = kMessageVersion,
      .type = static_cast<uint16_t>(message.type),
      .request = message.request,
      .payload_size = static_cast<uint32_t>(payload.size()),
      .reserved = 0,
  };
  std::vector<uint8_t> packet(sizeof(header) + payload.size());
  memcpy(packet.data(), &header, sizeof(header));
  memcpy(packet.data() + sizeof(header), payload.data(), payload.size());
  return packet;
}

absl::StatusOr<Message> ParseMessage(absl::Span<const uint8_t> packet, std::vector<UniqueFd> fds) {
  MessageHeader header;
  if (packet.size() < sizeof(header) || packet.size() > kMaxMessageBytes) {
    return absl::InvalidArgumentError(absl::StrCat("packet of ", packet.size(), " bytes"));
  }
  memcpy(&header, packet.data(), sizeof(header));
  if (header.magic != kMessageMagic) return absl::InvalidArgumentError("packet has no LUD1 magic");
  if (header.version != kMessageVersion) {
    return absl::FailedPreconditionError(
        absl::StrCat("peer speaks protocol version ", header.version, ", not ", kMessageVersion));
  }
  MessageType type = static_cast<MessageType>(header.type);
  if (MessageTypeName(type).empty()) {
    return absl::InvalidArgumentError(absl::StrCat("unknown message type ", header.type));
  }
  if (header.reserved != 0 || header.payload_size != packet.size() - sizeof(header)) {
    return absl::InvalidArgumentError(
        absl::StrCat("malformed header of a ", MessageTypeName(type), " message"));
  }
  if (fds.size() > kMaxMessageFds) {
    return absl::InvalidArgumentError(absl::StrCat("message with ", fds.size(), " descriptors"));
  }
  absl::StatusOr<Tree> body = DecodeTree(packet.subspan(sizeof(header)));
  if (!body.ok()) return Annotate(body.status(), MessageTypeName(type));
  return Message{type, header.request, *std::move(body), std::move(fds)};
}

absl::Status SendMessage(int socket, const Message& message) {
  ASSIGN_OR_RETURN(std::vector<uint8_t> packet, EncodeMessage(message));
  iovec data = {packet.data(), packet.size()};
  msghdr header = {};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  alignas(cmsghdr) char control[kControlBytes] = {};
  if (!message.fds.empty()) {
    size_t bytes = message.fds.size() * sizeof(int);
    header.msg_control = control;
    header.msg_controllen = CMSG_SPACE(bytes);
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(bytes);
    for (size_t i = 0; i < message.fds.size(); ++i) {
      int fd = message.fds[i].get();
      memcpy(CMSG_DATA(rights) + i * sizeof(int), &fd, sizeof(int));
    }
  }
  ssize_t sent;
  do {
    sent = sendmsg(socket, &header, MSG_NOSIGNAL);
  } while (sent < 0 && errno == EINTR);
  if (sent < 0) return ErrnoStatus(errno, absl::StrCat("send ", MessageTypeName(message.type)));
  return absl::OkStatus();
}

absl::StatusOr<Message> ReceiveMessage(int socket) {
  std::vector<uint8_t> packet(kMaxMessageBytes);
  iovec data = {packet.data(), packet.size()};
  alignas(cmsghdr) char control[kControlBytes];
  msghdr header = {};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  header.msg_control = control;
  header.msg_controllen = sizeof(control);
  ssize_t received;
  do {
    received = recvmsg(socket, &header, MSG_CMSG_CLOEXEC);
  } while (received < 0 && errno == EINTR);
  if (received < 0) return ErrnoStatus(errno, "receive");
  std::vector<UniqueFd> fds = TakeFds(header);
  if (received == 0) return absl::UnavailableError("the peer closed the connection");
  if (header.msg_flags & MSG_TRUNC) return absl::InvalidArgumentError("packet is too large");
  if (header.msg_flags & MSG_CTRUNC) {
    return absl::InvalidArgumentError("descriptors of a packet were truncated");
  }
  return ParseMessage(absl::MakeConstSpan(packet).first(received), std::move(fds));
}

}  // namespace vmm
