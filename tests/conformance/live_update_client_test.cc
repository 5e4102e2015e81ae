// What every LiveUpdateClient must answer before a kexec. What comes after one is in tests/e2e.
//
//   live_update_client_test            as root, in a host whose /dev/liveupdate nobody else holds
#include "luo_kernel/client/live_update_client.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>

#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/client/kernel_live_update.h"

namespace luo {
namespace {

using ::vmm::StatusErrno;
using ::vmm::UniqueFd;

constexpr size_t kPage = 4096;

struct Backend {
  std::string name;
  std::function<absl::StatusOr<std::unique_ptr<LiveUpdateClient>>()> open;
};

class LiveUpdateClientTest : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    auto client = GetParam().open();
    if (client.status().code() == absl::StatusCode::kNotFound) {
      GTEST_SKIP() << client.status().message();
    }
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }

  LiveUpdateSession Create(absl::string_view name) {
    auto session = client_->CreateSession(name);
    EXPECT_TRUE(session.ok()) << session.status();
    return session.ok() ? *std::move(session) : LiveUpdateSession(UniqueFd());
  }

  static UniqueFd Memfd(size_t size = 4 * kPage, unsigned flags = 0) {
    UniqueFd fd(memfd_create("test", MFD_CLOEXEC | flags));
    EXPECT_TRUE(fd.valid());
    EXPECT_EQ(ftruncate(fd.get(), size), 0);
    return fd;
  }

  std::unique_ptr<LiveUpdateClient> client_;
};

TEST_P(LiveUpdateClientTest, ASessionKnowsItsName) {
  const std::string longest(kMaxSessionNameLength, 'x');
  LiveUpdateSession one = Create("one");
  LiveUpdateSession other = Create(longest);
  EXPECT_EQ(*one.Name(), "one");
  EXPECT_EQ(*other.Name(), longest);
  EXPECT_EQ(fcntl(one.fd(), F_GETFD), FD_CLOEXEC);
}

TEST_P(LiveUpdateClientTest, NamesOutOfBoundsAreRefused) {
  for (const std::string& name : {std::string(), std::string(kMaxSessionNameLength + 1, 'x')}) {
    EXPECT_EQ(client_->CreateSession(name).status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(client_->RetrieveSession(name).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

TEST_P(LiveUpdateClientTest, ANameIsTakenUntilItsSessionCloses) {
  {
    LiveUpdateSession session = Create("vm");
    EXPECT_EQ(StatusErrno(client_->CreateSession("vm").status()), EEXIST);
    EXPECT_TRUE(client_->CreateSession("vm2").ok());
  }
  EXPECT_TRUE(client_->CreateSession("vm").ok());
}

TEST_P(LiveUpdateClientTest, AnUnknownSessionIsNotFound) {
  EXPECT_EQ(StatusErrno(client_->RetrieveSession("nobody").status()), ENOENT);
  // Outgoing sessions are no incoming ones, whatever their name.
  LiveUpdateSession session = Create("vm");
  EXPECT_EQ(StatusErrno(client_->RetrieveSession("vm").status()), ENOENT);
}

TEST_P(LiveUpdateClientTest, PreservesMemfdsUnderAnyToken) {
  LiveUpdateSession session = Create("vm");
  for (uint64_t token : {uint64_t{0}, uint64_t{1}, uint64_t{0x100}, ~uint64_t{0}}) {
    UniqueFd memfd = Memfd();
    absl::Status status = session.PreserveFd(memfd.get(), token);
    EXPECT_TRUE(status.ok()) << status;
  }
  UniqueFd empty = Memfd(0);
  EXPECT_TRUE(session.PreserveFd(empty.get(), 2).ok());
}

TEST_P(LiveUpdateClientTest, ATokenIsTakenOnceInASession) {
  LiveUpdateSession session = Create("vm");
  UniqueFd one = Memfd(), two = Memfd();
  ASSERT_TRUE(session.PreserveFd(one.get(), 5).ok());
  EXPECT_EQ(StatusErrno(session.PreserveFd(two.get(), 5)), EEXIST);
  EXPECT_TRUE(session.PreserveFd(two.get(), 6).ok());
  LiveUpdateSession other = Create("vm2");
  UniqueFd three = Memfd();
  EXPECT_TRUE(other.PreserveFd(three.get(), 5).ok());
}

TEST_P(LiveUpdateClientTest, AFileIsPreservedOnceWhoeverHoldsIt) {
  LiveUpdateSession session = Create("vm");
  LiveUpdateSession other = Create("vm2");
  UniqueFd memfd = Memfd();
  ASSERT_TRUE(session.PreserveFd(memfd.get(), 1).ok());
  EXPECT_EQ(StatusErrno(session.PreserveFd(memfd.get(), 2)), EBUSY);
  EXPECT_EQ(StatusErrno(other.PreserveFd(memfd.get(), 1)), EBUSY);
  // Another open file of the same inode.
  UniqueFd again(
      open(("/proc/self/fd/" + std::to_string(memfd.get())).c_str(), O_RDWR | O_CLOEXEC));
  ASSERT_TRUE(again.valid());
  EXPECT_EQ(StatusErrno(other.PreserveFd(again.get(), 1)), EBUSY);
}

TEST_P(LiveUpdateClientTest, APreservedMemfdStaysInUseButKeepsItsSize) {
  LiveUpdateSession session = Create("vm");
  UniqueFd memfd = Memfd();
  ASSERT_TRUE(session.PreserveFd(memfd.get(), 1).ok());
  EXPECT_EQ(pwrite(memfd.get(), "later", 5, 0), 5);
  EXPECT_EQ(ftruncate(memfd.get(), kPage), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(ftruncate(memfd.get(), 8 * kPage), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST_P(LiveUpdateClientTest, ClosingASessionUnpreserves) {
  UniqueFd memfd = Memfd();
  {
    LiveUpdateSession session = Create("vm");
    ASSERT_TRUE(session.PreserveFd(memfd.get(), 1).ok());
  }
  EXPECT_EQ(ftruncate(memfd.get(), kPage), 0);
  LiveUpdateSession session = Create("vm");
  EXPECT_TRUE(session.PreserveFd(memfd.get(), 1).ok());
}

TEST_P(LiveUpdateClientTest, OnlyTheLastCloseOfASessionCounts) {
  UniqueFd memfd = Memfd();
  UniqueFd held;
  {
    LiveUpdateSession session = Create("vm");
    ASSERT_TRUE(session.PreserveFd(memfd.get(), 1).ok());
    held.Reset(fcntl(session.fd(), F_DUPFD_CLOEXEC, 0));
  }
  EXPECT_EQ(StatusErrno(client_->CreateSession("vm").status()), EEXIST);
  LiveUpdateSession again(std::move(held));
  EXPECT_EQ(*again.Name(), "vm");
  EXPECT_EQ(StatusErrno(again.PreserveFd(memfd.get(), 2)), EBUSY);
}

TEST_P(LiveUpdateClientTest, SealsOfAStateMemfdArePreservable) {
  LiveUpdateSession session = Create("vm");
  UniqueFd memfd = Memfd(kPage, MFD_ALLOW_SEALING);
  ASSERT_EQ(fcntl(memfd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL), 0);
  absl::Status status = session.PreserveFd(memfd.get(), 0);
  EXPECT_TRUE(status.ok()) << status;
}

TEST_P(LiveUpdateClientTest, WhatCannotBePreservedIsSaid) {
  LiveUpdateSession session = Create("vm");
  UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
  EXPECT_EQ(StatusErrno(session.PreserveFd(null.get(), 1)), ENOENT);
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  UniqueFd left(pair[0]), right(pair[1]);
  EXPECT_EQ(StatusErrno(session.PreserveFd(left.get(), 1)), ENOENT);
  EXPECT_EQ(StatusErrno(session.PreserveFd(session.fd(), 1)), ENOENT);
  EXPECT_EQ(StatusErrno(session.PreserveFd(-1, 1)), EBADF);
  // None of the failures took the token.
  UniqueFd memfd = Memfd();
  EXPECT_TRUE(session.PreserveFd(memfd.get(), 1).ok());
}

TEST_P(LiveUpdateClientTest, AnOutgoingSessionGivesNothingBack) {
  LiveUpdateSession session = Create("vm");
  UniqueFd memfd = Memfd();
  ASSERT_TRUE(session.PreserveFd(memfd.get(), 1).ok());
  EXPECT_EQ(StatusErrno(session.RetrieveFd(1).status()), EINVAL);
  EXPECT_EQ(StatusErrno(session.RetrieveFd(99).status()), EINVAL);
  EXPECT_EQ(StatusErrno(session.Finish()), EINVAL);
}

TEST_P(LiveUpdateClientTest, SessionsOutliveTheirClient) {
  UniqueFd memfd = Memfd();
  LiveUpdateSession session = Create("vm");
  client_.reset();
  EXPECT_TRUE(session.PreserveFd(memfd.get(), 1).ok());
  auto again = GetParam().open();
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(StatusErrno((*again)->CreateSession("vm").status()), EEXIST);
}

TEST(KernelLiveUpdateTest, TheDeviceHasOneOwner) {
  auto owner = KernelLiveUpdate::Open();
  if (owner.status().code() == absl::StatusCode::kNotFound) {
    GTEST_SKIP() << owner.status().message();
  }
  ASSERT_TRUE(owner.ok()) << owner.status();
  EXPECT_EQ(StatusErrno(KernelLiveUpdate::Open().status()), EBUSY);
  owner->reset();
  EXPECT_TRUE(KernelLiveUpdate::Open().ok());
}

INSTANTIATE_TEST_SUITE_P(
    Backends, LiveUpdateClientTest,
    ::testing::Values(Backend{"Kernel",
                              []() -> absl::StatusOr<std::unique_ptr<LiveUpdateClient>> {
                                return KernelLiveUpdate::Open();
                              }}),
    [](const ::testing::TestParamInfo<Backend>& info) { return info.param.name; });

}  // namespace
}  // namespace luo
