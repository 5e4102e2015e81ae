#include "luo_kernel/client/live_update_client.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include "base/status.h"

namespace luo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

// What the kernel answers on a real session is in tests/conformance; here are the calls that no
// session answers.
class NotASessionTest : public ::testing::Test {
 protected:
  LiveUpdateSession session_{vmm::UniqueFd(memfd_create("not-a-session", MFD_CLOEXEC))};
};

void ExpectNotASession(const absl::Status& status, const char* what) {
  EXPECT_EQ(vmm::StatusErrno(status), ENOTTY);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr(what), HasSubstr("not a live update session")));
}

TEST_F(NotASessionTest, EveryCallSaysSo) {
  ExpectNotASession(session_.PreserveFd(session_.fd(), 0x100), "as token 0x100");
  ExpectNotASession(session_.RetrieveFd(7).status(), "retrieve token 0x7");
  ExpectNotASession(session_.Finish(), "finish the session");
  ExpectNotASession(session_.Name().status(), "get the session's name");
}

TEST(LiveUpdateSessionTest, OfNoDescriptorFailsEveryCall) {
  LiveUpdateSession session{vmm::UniqueFd()};
  EXPECT_EQ(session.fd(), -1);
  EXPECT_EQ(vmm::StatusErrno(session.PreserveFd(0, 0)), EBADF);
  EXPECT_EQ(vmm::StatusErrno(session.RetrieveFd(0).status()), EBADF);
  EXPECT_EQ(vmm::StatusErrno(session.Finish()), EBADF);
  EXPECT_EQ(vmm::StatusErrno(session.Name().status()), EBADF);
}

}  // namespace
}  // namespace luo
