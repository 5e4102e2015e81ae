#include "vmm/live_update/socket.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <string>

namespace vmm {
namespace {

// In /tmp itself: a socket's path has 107 bytes at most.
std::string FreshFolder() {
  std::string path = "/tmp/socketXXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  return path;
}

TEST(SocketTest, ConnectsAndCreatesAPrivateFolder) {
  std::string folder = FreshFolder() + "/run";
  std::string path = folder + "/s";
  absl::StatusOr<UniqueFd> listener = ListenOn(path);
  ASSERT_TRUE(listener.ok()) << listener.status();
  struct stat info;
  ASSERT_EQ(stat(folder.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0700u);
  absl::StatusOr<UniqueFd> client = ConnectTo(path);
  ASSERT_TRUE(client.ok()) << client.status();
  UniqueFd accepted(accept4(listener->get(), nullptr, nullptr, SOCK_CLOEXEC));
  EXPECT_TRUE(CheckPeer(accepted.get()).ok());
}

TEST(SocketTest, ASecondListenerIsRefusedWhileTheFirstLives) {
  std::string path = FreshFolder() + "/s";
  absl::StatusOr<UniqueFd> listener = ListenOn(path);
  ASSERT_TRUE(listener.ok());
  EXPECT_EQ(ListenOn(path).status().code(), absl::StatusCode::kAlreadyExists);
  listener->Reset();
  EXPECT_TRUE(ListenOn(path).ok());
}

TEST(SocketTest, NobodyListensIsUnavailable) {
  std::string path = FreshFolder() + "/s";
  EXPECT_EQ(ConnectTo(path).status().code(), absl::StatusCode::kUnavailable);
  ASSERT_TRUE(ListenOn(path).ok());  // leaves a stale socket
  EXPECT_EQ(ConnectTo(path).status().code(), absl::StatusCode::kUnavailable);
}

TEST(SocketTest, RefusesAFolderOthersMayWriteTo) {
  std::string folder = FreshFolder();
  ASSERT_EQ(chmod(folder.c_str(), 0777), 0);
  EXPECT_EQ(ListenOn(folder + "/s").status().code(), absl::StatusCode::kPermissionDenied);
}

TEST(SocketTest, RefusesPathsThatNoAddressHolds) {
  EXPECT_FALSE(ConnectTo("").ok());
  EXPECT_FALSE(ConnectTo("/" + std::string(200, 'x')).ok());
}

}  // namespace
}  // namespace vmm
