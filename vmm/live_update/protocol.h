// The envelope of what luod, vmm and luoctl say to each other: one message a packet of an AF_UNIX
// SOCK_SEQPACKET socket. PROTOCOL.md describes who says what when; messages.h has the bodies.
//
//   Message ping{.type = MessageType::kPing, .request = 7};
//   RETURN_IF_ERROR(SendMessage(socket, ping));
//   ASSIGN_OR_RETURN(Message answer, ReceiveMessage(socket));
//   if (answer.request != 7) ...
//
// A packet is a MessageHeader (little-endian) and an encoded Tree, with up to kMaxMessageFds
// descriptors in SCM_RIGHTS. What arrives is hostile until parsed: a wrong magic, version, type or
// size, a body that is no Tree, truncated data or control data are errors, and descriptors that
// came along are closed. Functions here keep no state; a socket may be written by one thread while
// another reads it.
#ifndef VMM_LIVE_UPDATE_PROTOCOL_H_
#define VMM_LIVE_UPDATE_PROTOCOL_H_

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tree.h"
#include "base/unique_fd.h"

namespace vmm {

inline constexpr uint32_t kMessageMagic = 0x3144554c;  // "LUD1" as bytes
inline constexpr uint16_t kMessageVersion = 1;
inline constexpr size_t kMaxMessageBytes = 64 * 1024;  // header included
inline constexpr size_t kMaxMessageFds = 8;

// ABI: numbers are never given a second meaning.
enum class MessageType : uint16_t {
  // Answers, by whoever was asked.
  kOk = 1,
  kError = 2,
  kProgress = 3,
  // vmm → luod.
  kRegister = 16,
  // luod → vmm.
  kPing = 32,
  kPrepare = 33,
  kFreeze = 34,
  kCancel = 35,
  // luoctl → luod.
  kStatus = 48,
  kUpgrade = 49,
  kCancelUpgrade = 50,
  kRetry = 51,
  kAbandon = 52,
  // luod → luoctl: one VM's part of the answer to kStatus.
  kVmStatus = 64,
};

// The field's name in upper case ("PREPARE"); empty for a number that is no MessageType.
absl::string_view MessageTypeName(MessageType type);

struct MessageHeader {
  uint32_t magic;
  uint16_t version;
  uint16_t type;
  uint32_t request;
  uint32_t payload_size;  // bytes that follow the header: all the rest of the packet
  uint32_t reserved;      // zero
};
static_assert(sizeof(MessageHeader) == 20);
static_assert(offsetof(MessageHeader, version) == 4);
static_assert(offsetof(MessageHeader, type) == 6);
static_assert(offsetof(MessageHeader, request) == 8);
static_assert(offsetof(MessageHeader, payload_size) == 12);
static_assert(offsetof(MessageHeader, reserved) == 16);
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__);

struct Message {
  MessageType type = MessageType::kOk;
  uint32_t request = 0;  // chosen by who asks, repeated in each answer
  Tree body = Tree();
  std::vector<UniqueFd> fds = {};
};

// The bytes of a packet. kInvalidArgument past a limit above.
absl::StatusOr<std::vector<uint8_t>> EncodeMessage(const Message& message);

// The message in a packet's bytes. kFailedPrecondition when the peer speaks another version,
// kInvalidArgument when the packet is malformed. `fds` are closed on any error.
absl::StatusOr<Message> ParseMessage(absl::Span<const uint8_t> packet, std::vector<UniqueFd> fds);

// Sends one packet; never raises SIGPIPE. kUnavailable when the peer is gone or, on a non-blocking
// socket, when it does not read.
absl::Status SendMessage(int socket, const Message& message);

// Receives one packet. kUnavailable when the peer has closed; StatusErrno() is EAGAIN when a
// non-blocking socket has nothing to read.
absl::StatusOr<Message> ReceiveMessage(int socket);

}  // namespace vmm

#endif  // VMM_LIVE_UPDATE_PROTOCOL_H_
