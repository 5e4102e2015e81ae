#include "luo_kernel/hosted/inspect_socket.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/status.h"

namespace luo {
namespace {

using ::vmm::StatusErrno;
using ::vmm::UniqueFd;

template <typename T>
std::vector<uint8_t> BytesOf(const T& value) {
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(&value);
  return std::vector<uint8_t>(bytes, bytes + sizeof(value));
}

struct Pair {
  UniqueFd left, right;
  Pair() {
    int fds[2] = {-1, -1};
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    left.Reset(fds[0]);
    right.Reset(fds[1]);
  }
};

TEST(InspectSocketTest, RequestsAreChecked) {
  const SocketRequest good = {kSocketMagic, kSocketVersion, 2, 0};
  EXPECT_EQ(*ParseRequest(BytesOf(good)), SocketRequestKind::kJoin);
  for (SocketRequest bad : {SocketRequest{1, kSocketVersion, 1, 0},
                            SocketRequest{kSocketMagic, kSocketVersion + 1, 1, 0},
                            SocketRequest{kSocketMagic, kSocketVersion, 0, 0},
                            SocketRequest{kSocketMagic, kSocketVersion, 3, 0},
                            SocketRequest{kSocketMagic, kSocketVersion, 1, 1}}) {
    EXPECT_EQ(ParseRequest(BytesOf(bad)).status().code(), absl::StatusCode::kInvalidArgument);
  }
  std::vector<uint8_t> bytes = BytesOf(good);
  bytes.pop_back();
  EXPECT_FALSE(ParseRequest(bytes).ok());
  EXPECT_FALSE(ParseRequest({}).ok());
}

TEST(InspectSocketTest, RepliesAreChecked) {
  SocketReply reply = {};
  EXPECT_FALSE(ParseReply(BytesOf(reply)).ok());
  reply.magic = kSocketMagic;
  reply.version = kSocketVersion;
  EXPECT_TRUE(ParseReply(BytesOf(reply)).ok());
  reply.extents = kMaxExtents + 1;
  EXPECT_FALSE(ParseReply(BytesOf(reply)).ok());
  reply.error = EBUSY;
  EXPECT_EQ(StatusErrno(ParseReply(BytesOf(reply)).status()), EBUSY);
}

TEST(InspectSocketTest, ExtentsAreChecked) {
  const SocketExtent good = {.address = 0x1000, .size = 0x2000, .offset = 0x3000, .use = 1};
  absl::StatusOr<std::vector<InspectedExtent>> extents = ParseExtents(BytesOf(good));
  ASSERT_TRUE(extents.ok()) << extents.status();
  ASSERT_EQ(extents->size(), 1U);
  EXPECT_EQ((*extents)[0].range, (PhysicalRange{PhysicalAddress(0x1000), 0x2000}));
  EXPECT_EQ((*extents)[0].use, ExtentUse::kData);
  for (const SocketExtent& bad :
       {SocketExtent{.address = 0x1000, .size = 0},
        SocketExtent{.address = ~uint64_t{0} - 1, .size = 0x1000},
        SocketExtent{.address = 0, .size = 0x1000, .offset = ~uint64_t{0}},
        SocketExtent{.address = 0, .size = 0x1000, .offset = 0, .use = 2}}) {
    EXPECT_FALSE(ParseExtents(BytesOf(bad)).ok());
  }
  EXPECT_FALSE(ParseExtents({}).ok());
  EXPECT_FALSE(
      ParseExtents(std::vector<uint8_t>((kExtentsPerPacket + 1) * sizeof(SocketExtent))).ok());
}

TEST(InspectSocketTest, PacketsKeepTheirBordersAndFiles) {
  Pair pair;
  ASSERT_TRUE(SendPacket(pair.left.get(), std::vector<uint8_t>{1, 2, 3}, {STDIN_FILENO}).ok());
  ASSERT_TRUE(SendPacket(pair.left.get(), std::vector<uint8_t>{4}, {}).ok());
  absl::StatusOr<Packet> first = ReceivePacket(pair.right.get(), 10);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->bytes, (std::vector<uint8_t>{1, 2, 3}));
  ASSERT_EQ(first->files.size(), 1U);
  EXPECT_EQ(fcntl(first->files[0].get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(ReceivePacket(pair.right.get(), 10)->bytes, std::vector<uint8_t>{4});
  ASSERT_TRUE(SendPacket(pair.left.get(), std::vector<uint8_t>(11), {}).ok());
  EXPECT_EQ(ReceivePacket(pair.right.get(), 10).status().code(),
            absl::StatusCode::kInvalidArgument);
  pair.left.Reset();
  EXPECT_TRUE(ReceivePacket(pair.right.get(), 10)->bytes.empty());
}

TEST(InspectSocketTest, ManyExtentsTravelInSeveralPackets) {
  const std::string path = "/tmp/inspect_socket_test." + std::to_string(getpid());
  absl::StatusOr<UniqueFd> listening = ListenOn(path);
  ASSERT_TRUE(listening.ok()) << listening.status();
  EXPECT_EQ(StatusErrno(ListenOn(path).status()), EADDRINUSE);
  UniqueFd file(memfd_create("memory", MFD_CLOEXEC));
  std::vector<Extent> extents;
  for (uint64_t i = 0; i < 2 * kExtentsPerPacket + 5; ++i) {
    extents.push_back({.range = {PhysicalAddress(i << 20), 0x1000},
                       .fd = file.get(),
                       .offset = i << 12,
                       .use = i == 0 ? ExtentUse::kMetadata : ExtentUse::kData});
  }
  std::thread server([&] {
    // The first that comes is the second ListenOn(), which asks whether anybody is there.
    UniqueFd socket;
    absl::StatusOr<Packet> request = Packet();
    while (request.ok() && request->bytes.empty()) {
      socket.Reset(accept(listening->get(), nullptr, nullptr));
      if (socket.valid()) request = ReceivePacket(socket.get(), 100);
    }
    ASSERT_TRUE(request.ok()) << request.status();
    const absl::StatusOr<SocketRequestKind> kind = ParseRequest(request->bytes);
    ASSERT_TRUE(kind.ok()) << kind.status();
    EXPECT_EQ(*kind, SocketRequestKind::kInspect);
    EXPECT_TRUE(SendInspection(socket.get(), 3, true, {.root_address = 5}, extents).ok());
  });
  absl::StatusOr<InspectedMachine> machine = InspectHosted(path);
  server.join();
  ASSERT_TRUE(machine.ok()) << machine.status();
  EXPECT_EQ(machine->generation, 3U);
  EXPECT_TRUE(machine->kexec_image);
  EXPECT_EQ(uint64_t{machine->handover.root_address}, 5U);
  ASSERT_EQ(machine->extents.size(), extents.size());
  for (size_t i = 0; i < extents.size(); ++i) {
    EXPECT_EQ(machine->extents[i].range, extents[i].range);
    EXPECT_EQ(machine->extents[i].offset, extents[i].offset);
    EXPECT_EQ(machine->extents[i].use, extents[i].use);
    EXPECT_EQ(write(machine->extents[i].file.get(), "x", 1), -1);
  }
  // A socket that nobody listens on any more is no obstacle.
  listening->Reset();
  EXPECT_EQ(StatusErrno(ConnectTo(path).status()), ECONNREFUSED);
  EXPECT_TRUE(ListenOn(path).ok());
  unlink(path.c_str());
}

TEST(InspectSocketTest, WhatIsNoPathIsRefused) {
  EXPECT_EQ(ListenOn("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(ListenOn(std::string(200, 'x')).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace luo
