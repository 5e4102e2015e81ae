#include "vmm/live_update/protocol.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <string>
#include <utility>
#include <vector>

#include "base/status.h"

namespace vmm {
namespace {

struct Pair {
  Pair() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    ours.Reset(fds[0]);
    theirs.Reset(fds[1]);
  }
  UniqueFd ours;
  UniqueFd theirs;
};

UniqueFd PipeEnd(UniqueFd* other) {
  int fds[2];
  EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
  other->Reset(fds[0]);
  return UniqueFd(fds[1]);
}

// True when no descriptor of the pipe's write end is open any more.
bool WriteEndClosed(const UniqueFd& read_end) {
  char byte;
  fcntl(read_end.get(), F_SETFL, O_NONBLOCK);
  return read(read_end.get(), &byte, 1) == 0;
}

std::vector<uint8_t> GoodPacket() {
  Message message{.type = MessageType::kPing, .request = 9};
  message.body.SetString("name", "db");
  return *EncodeMessage(message);
}

template <typename T>
std::vector<uint8_t> Patched(size_t offset, T value) {
  std::vector<uint8_t> packet = GoodPacket();
  memcpy(packet.data() + offset, &value, sizeof(value));
  return packet;
}

// Sends `packet` with `count` copies of `fd`, past every check of SendMessage().
void SendRaw(int socket, std::vector<uint8_t> packet, int fd = -1, size_t count = 0) {
  iovec data = {packet.data(), packet.size()};
  std::vector<char> control(CMSG_SPACE(count * sizeof(int)));
  msghdr header = {};
  header.msg_iov = &data;
  header.msg_iovlen = 1;
  if (count > 0) {
    header.msg_control = control.data();
    header.msg_controllen = control.size();
    cmsghdr* rights = CMSG_FIRSTHDR(&header);
    rights->cmsg_level = SOL_SOCKET;
    rights->cmsg_type = SCM_RIGHTS;
    rights->cmsg_len = CMSG_LEN(count * sizeof(int));
    for (size_t i = 0; i < count; ++i) {
      memcpy(CMSG_DATA(rights) + i * sizeof(int), &fd, sizeof(int));
    }
  }
  ASSERT_EQ(sendmsg(socket, &header, MSG_NOSIGNAL), static_cast<ssize_t>(packet.size()));
}

TEST(ProtocolTest, RoundTripWithDescriptors) {
  Pair pair;
  UniqueFd read_end;
  Message message{.type = MessageType::kPrepare, .request = 0xdeadbeef};
  message.body.SetU64("bytes", 7);
  message.fds.push_back(PipeEnd(&read_end));
  ASSERT_TRUE(SendMessage(pair.ours.get(), message).ok());
  absl::StatusOr<Message> received = ReceiveMessage(pair.theirs.get());
  ASSERT_TRUE(received.ok()) << received.status();
  EXPECT_EQ(received->type, MessageType::kPrepare);
  EXPECT_EQ(received->request, 0xdeadbeef);
  EXPECT_EQ(*received->body.GetU64("bytes"), 7u);
  ASSERT_EQ(received->fds.size(), 1u);
  EXPECT_EQ(fcntl(received->fds[0].get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(write(received->fds[0].get(), "x", 1), 1);
  char byte = 0;
  EXPECT_EQ(read(read_end.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'x');
}

TEST(ProtocolTest, HeaderBytesAreTheDocumentedOnes) {
  std::vector<uint8_t> packet = GoodPacket();
  ASSERT_GE(packet.size(), 20u);
  EXPECT_EQ(memcmp(packet.data(), "LUD1\x01\x00\x20\x00\x09\x00\x00\x00", 12), 0);
}

TEST(ProtocolTest, EightDescriptorsPassAndNineAreNotSent) {
  Pair pair;
  UniqueFd read_end;
  UniqueFd write_end = PipeEnd(&read_end);
  Message message{.type = MessageType::kUpgrade, .request = 1};
  for (size_t i = 0; i < kMaxMessageFds; ++i) message.fds.emplace_back(dup(write_end.get()));
  ASSERT_TRUE(SendMessage(pair.ours.get(), message).ok());
  EXPECT_EQ(ReceiveMessage(pair.theirs.get())->fds.size(), kMaxMessageFds);
  message.fds.emplace_back(dup(write_end.get()));
  EXPECT_EQ(SendMessage(pair.ours.get(), message).code(), absl::StatusCode::kInvalidArgument);
}

TEST(ProtocolTest, TruncatedControlDataIsRefusedAndItsDescriptorsClosed) {
  Pair pair;
  UniqueFd read_end;
  UniqueFd write_end = PipeEnd(&read_end);
  SendRaw(pair.ours.get(), GoodPacket(), write_end.get(), kMaxMessageFds + 1);
  write_end.Reset();
  EXPECT_EQ(ReceiveMessage(pair.theirs.get()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(WriteEndClosed(read_end));
}

TEST(ProtocolTest, DescriptorsOfAMalformedPacketAreClosed) {
  Pair pair;
  UniqueFd read_end;
  UniqueFd write_end = PipeEnd(&read_end);
  SendRaw(pair.ours.get(), {1, 2, 3}, write_end.get(), 2);
  write_end.Reset();
  EXPECT_EQ(ReceiveMessage(pair.theirs.get()).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(WriteEndClosed(read_end));
}

TEST(ProtocolTest, OversizedPacketIsRefused) {
  Pair pair;
  SendRaw(pair.ours.get(), std::vector<uint8_t>(kMaxMessageBytes + 1));
  EXPECT_EQ(ReceiveMessage(pair.theirs.get()).status().code(), absl::StatusCode::kInvalidArgument);
  Message message;
  message.body.SetBytes("blob", std::vector<uint8_t>(kMaxMessageBytes));
  EXPECT_EQ(SendMessage(pair.ours.get(), message).code(), absl::StatusCode::kInvalidArgument);
}

TEST(ProtocolTest, ClosedPeerIsUnavailable) {
  Pair pair;
  pair.theirs.Reset();
  EXPECT_EQ(SendMessage(pair.ours.get(), Message{}).code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(ReceiveMessage(pair.ours.get()).status().code(), absl::StatusCode::kUnavailable);
}

TEST(ProtocolTest, NothingToReadIsEagain) {
  Pair pair;
  fcntl(pair.ours.get(), F_SETFL, O_NONBLOCK);
  EXPECT_EQ(StatusErrno(ReceiveMessage(pair.ours.get()).status()), EAGAIN);
}

TEST(ParseMessageTest, RefusesEveryBadHeader) {
  EXPECT_TRUE(ParseMessage(GoodPacket(), {}).ok());
  EXPECT_FALSE(ParseMessage({}, {}).ok());
  EXPECT_FALSE(ParseMessage(Patched<uint32_t>(0, 0x3244554c), {}).ok());
  EXPECT_EQ(ParseMessage(Patched<uint16_t>(4, 2), {}).status().code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_FALSE(ParseMessage(Patched<uint16_t>(6, 0), {}).ok());
  EXPECT_FALSE(ParseMessage(Patched<uint16_t>(6, 4), {}).ok());
  EXPECT_FALSE(ParseMessage(Patched<uint16_t>(6, 0xffff), {}).ok());
  EXPECT_FALSE(ParseMessage(Patched<uint32_t>(12, 0), {}).ok());
  EXPECT_FALSE(ParseMessage(Patched<uint32_t>(12, 0xffffffff), {}).ok());
  EXPECT_FALSE(ParseMessage(Patched<uint32_t>(16, 1), {}).ok());
}

TEST(ParseMessageTest, RefusesEveryTruncation) {
  std::vector<uint8_t> packet = GoodPacket();
  for (size_t size = 0; size < packet.size(); ++size) {
    EXPECT_FALSE(ParseMessage(absl::MakeConstSpan(packet).first(size), {}).ok()) << size;
  }
}

TEST(ParseMessageTest, SurvivesEveryFlippedByte) {
  std::vector<uint8_t> good = GoodPacket();
  for (size_t i = 0; i < good.size(); ++i) {
    std::vector<uint8_t> packet = good;
    packet[i] ^= 0xff;
    absl::StatusOr<Message> message = ParseMessage(packet, {});
    if (i < 8) {
      EXPECT_FALSE(message.ok()) << i;
    } else if (message.ok()) {
      EXPECT_EQ(message->type, MessageType::kPing);
    }
  }
}

}  // namespace
}  // namespace vmm
