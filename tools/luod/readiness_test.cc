#include "tools/luod/readiness.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;

// A manager's socket: `path` as bind() takes it, short, an abstract one with its leading NUL.
UniqueFd Listen(const std::string& path) {
  UniqueFd fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_NONBLOCK, 0));
  sockaddr_un name = {.sun_family = AF_UNIX};
  memcpy(name.sun_path, path.data(), path.size());
  if (path[0] != '\0') unlink(path.c_str());  // of an earlier process of this number
  EXPECT_EQ(bind(fd.get(), reinterpret_cast<sockaddr*>(&name),
                 offsetof(sockaddr_un, sun_path) + path.size()),
            0);
  return fd;
}

std::string Received(const UniqueFd& fd) {
  char text[64];
  const ssize_t length = recv(fd.get(), text, sizeof(text), 0);
  return length < 0 ? strerror(errno) : std::string(text, length);
}

TEST(ReadinessTest, ReachesAPath) {
  const std::string path = absl::StrCat("/tmp/readiness-test-", getpid());
  UniqueFd manager = Listen(path);
  EXPECT_TRUE(NotifyReady(path).ok());
  EXPECT_EQ(Received(manager), "READY=1");
  unlink(path.c_str());
}

TEST(ReadinessTest, ReachesAnAbstractName) {
  const std::string name = absl::StrCat("vmm-readiness-test-", getpid());
  UniqueFd manager = Listen(std::string(1, '\0') + name);
  EXPECT_TRUE(NotifyReady(absl::StrCat("@", name)).ok());
  EXPECT_EQ(Received(manager), "READY=1");
}

TEST(ReadinessTest, NobodyAsked) { EXPECT_TRUE(NotifyReady("").ok()); }

TEST(ReadinessTest, SaysWhomItCannotReach) {
  const absl::Status status = NotifyReady("/nonexistent/notify");
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/notify"));
  EXPECT_FALSE(NotifyReady(std::string(200, 'x')).ok());
}

TEST(ReadinessTest, AManagerThatDoesNotReadIsToldLater) {
  const std::string path = absl::StrCat("/tmp/readiness-test-deaf-", getpid());
  UniqueFd manager = Listen(path);
  absl::Status status;
  for (int i = 0; i < 10'000 && status.ok(); ++i) status = NotifyReady(path);
  EXPECT_TRUE(absl::IsUnavailable(status)) << status;
  // It has read one: there is room again.
  EXPECT_EQ(Received(manager), "READY=1");
  EXPECT_TRUE(NotifyReady(path).ok());
  unlink(path.c_str());
}

}  // namespace
}  // namespace vmm
