#include "devices/console/test_support.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <limits>
#include <thread>

namespace vmm {

FdPair MakePipe() {
  int fds[2] = {-1, -1};
  EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

FdPair MakePty() {
  UniqueFd user(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC));
  EXPECT_EQ(grantpt(user.get()), 0);
  EXPECT_EQ(unlockpt(user.get()), 0);
  char name[64];
  EXPECT_EQ(ptsname_r(user.get(), name, sizeof(name)), 0);
  UniqueFd terminal(open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
  EXPECT_TRUE(terminal.valid());
  return {std::move(user), std::move(terminal)};
}

FdPair MakeSocketPair(int type) {
  int fds[2] = {-1, -1};
  EXPECT_EQ(socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds), 0);
  return {UniqueFd(fds[0]), UniqueFd(fds[1])};
}

TempDir::TempDir() {
  // Not the test's own temporary folder, whose path may be too long for a socket.
  std::string path = "/tmp/console_test.XXXXXX";
  EXPECT_NE(mkdtemp(path.data()), nullptr);
  path_ = path;
}

TempDir::~TempDir() { std::filesystem::remove_all(path_); }

UniqueFd ConnectTo(const std::string& path) {
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  EXPECT_LT(path.size(), sizeof(address.sun_path));
  path.copy(address.sun_path, sizeof(address.sun_path) - 1);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    return UniqueFd();
  }
  return fd;
}

std::string ReadBytes(int fd, size_t size) {
  const auto deadline = std::chrono::steady_clock::now() + kTestTimeout;
  std::string text;
  char buffer[4096];
  while (text.size() < size && std::chrono::steady_clock::now() < deadline) {
    pollfd ready = {fd, POLLIN, 0};
    if (poll(&ready, 1, 100) <= 0) continue;
    const ssize_t count = read(fd, buffer, std::min(sizeof(buffer), size - text.size()));
    if (count <= 0) break;
    text.append(buffer, count);
  }
  return text;
}

std::string ReadToEnd(int fd) { return ReadBytes(fd, std::numeric_limits<size_t>::max()); }

void WriteAll(int fd, const std::string& text) {
  EXPECT_EQ(write(fd, text.data(), text.size()), static_cast<ssize_t>(text.size()));
}

bool Eventually(const std::function<bool()>& condition) {
  const auto deadline = std::chrono::steady_clock::now() + kTestTimeout;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

}  // namespace vmm
