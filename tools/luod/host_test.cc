#include "tools/luod/host.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include <string>

#include "base/status.h"
#include "base/unique_fd.h"

namespace vmm {
namespace {

using testing::HasSubstr;

TEST(HostTest, AFileThatIsNoKernelIsRefused) {
  const UniqueFd file(memfd_create("none", MFD_CLOEXEC));
  EXPECT_FALSE(SystemHost().CheckKernel(file.get()).ok());
}

TEST(HostTest, ACommandLineWithoutLiveUpdateIsRefused) {
  EXPECT_THAT(std::string(SystemHost().CheckCommandLine("root=/dev/sda1 kho=on").message()),
              HasSubstr("needs liveupdate=on"));
  EXPECT_TRUE(SystemHost().CheckCommandLine("kho=on liveupdate=on").ok());
}

TEST(HostTest, AProgramThatIsGoneIsNamed) {
  EXPECT_TRUE(SystemHost().CheckProgram("/bin/sh").ok());
  const absl::Status gone = SystemHost().CheckProgram("/usr/bin/vmm (deleted)");
  EXPECT_EQ(StatusErrno(gone), ENOENT);
  EXPECT_THAT(std::string(gone.message()), HasSubstr("/usr/bin/vmm (deleted)"));
  EXPECT_EQ(StatusErrno(SystemHost().CheckProgram("/dev/null")), EACCES);
}

TEST(HostTest, KnowsWhatMemoryIsLeft) {
  const absl::StatusOr<uint64_t> bytes = SystemHost().AvailableMemory();
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  EXPECT_GT(*bytes, 1u << 20);
  EXPECT_LT(*bytes, uint64_t{1} << 46);
}

TEST(HostTest, SyncIsWaitedForAndLeavesNoChild) {
  EXPECT_TRUE(SystemHost().Sync(std::chrono::minutes(5)).ok());
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1);
  EXPECT_EQ(errno, ECHILD);
}

}  // namespace
}  // namespace vmm
