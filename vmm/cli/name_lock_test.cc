#include "vmm/cli/name_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;

namespace fs = std::filesystem;

class NameLockTest : public testing::Test {
 protected:
  void SetUp() override {
    top_ = fs::path(testing::TempDir()) / absl::StrCat("name-lock-", getpid());
    fs::create_directory(top_);
    folder_ = top_ / "vmm";
  }
  void TearDown() override { fs::remove_all(top_); }

  void ExpectFolderRefused() const {
    const absl::Status status = NameLock::Acquire("web1", folder_).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kPermissionDenied) << status;
    EXPECT_THAT(status.message(),
                HasSubstr(folder_ + " must be a folder of this user that no other can write to"));
  }

  fs::path top_;
  std::string folder_;
};

TEST_F(NameLockTest, SecondOfOneNameIsRefusedUntilTheFirstGoes) {
  absl::StatusOr<NameLock> first = NameLock::Acquire("web1", folder_);
  ASSERT_TRUE(first.ok()) << first.status();
  const absl::Status second = NameLock::Acquire("web1", folder_).status();
  EXPECT_EQ(second.code(), absl::StatusCode::kAlreadyExists);
  EXPECT_THAT(second.message(), HasSubstr("--name web1 is taken"));
  EXPECT_TRUE(NameLock::Acquire("web1x", folder_).ok());
  first = absl::CancelledError();
  EXPECT_TRUE(fs::exists(folder_ + "/web1.lock"));
  EXPECT_TRUE(NameLock::Acquire("web1", folder_).ok());
}

TEST_F(NameLockTest, LetsNobodyElseIn) {
  ASSERT_TRUE(NameLock::Acquire("web1", folder_).ok());
  struct stat info = {};
  ASSERT_EQ(stat(folder_.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0700u);
  ASSERT_EQ(stat((folder_ + "/web1.lock").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 07777, 0600u);
}

TEST_F(NameLockTest, AFolderThatOthersOnlyReadWillDo) {
  fs::create_directory(folder_);
  ASSERT_EQ(chmod(folder_.c_str(), 0755), 0);
  EXPECT_TRUE(NameLock::Acquire("web1", folder_).ok());
}

TEST_F(NameLockTest, RefusesAFolderThatOthersWriteTo) {
  fs::create_directory(folder_);
  for (const mode_t mode : {0720, 0702, 01777}) {
    ASSERT_EQ(chmod(folder_.c_str(), mode), 0);
    ExpectFolderRefused();
  }
}

TEST_F(NameLockTest, RefusesAnothersFolder) {
  constexpr uid_t kNobody = 65534;
  fs::create_directory(folder_);
  if (chown(folder_.c_str(), kNobody, kNobody) < 0) GTEST_SKIP() << "may not give files away";
  ExpectFolderRefused();
}

TEST_F(NameLockTest, RefusesWhatIsNoFolder) {
  std::ofstream file(folder_);
  ExpectFolderRefused();
  fs::remove(folder_);
  fs::create_directory(top_ / "elsewhere");
  fs::create_directory_symlink(top_ / "elsewhere", folder_);
  ExpectFolderRefused();
  EXPECT_TRUE(fs::is_empty(top_ / "elsewhere"));
}

TEST_F(NameLockTest, SaysWhereNoFolderCanBe) {
  const std::string absent = top_ / "absent" / "vmm";
  const absl::Status status = NameLock::Acquire("web1", absent).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound) << status;
  EXPECT_THAT(status.message(), HasSubstr(absent));
}

TEST_F(NameLockTest, FollowsNoLink) {
  fs::create_directory(folder_);
  fs::create_symlink(top_ / "elsewhere", folder_ + "/web1.lock");
  const absl::Status status = NameLock::Acquire("web1", folder_).status();
  EXPECT_FALSE(status.ok());
  EXPECT_THAT(status.message(), HasSubstr(folder_ + "/web1.lock"));
  EXPECT_FALSE(fs::exists(top_ / "elsewhere"));
}

TEST_F(NameLockTest, RefusesANameThatIsNone) {
  for (const std::string& name : {std::string(200, 'a'), std::string("../web1"), std::string()}) {
    EXPECT_EQ(NameLock::Acquire(name, folder_).status().code(), absl::StatusCode::kInvalidArgument)
        << name;
  }
}

TEST(NameLockFolderTest, IsTheUsers) {
  EXPECT_EQ(NameLock::FolderOf(0, "/run/user/0"), "/run/vmm");
  EXPECT_EQ(NameLock::FolderOf(1000, "/run/user/1000"), "/run/user/1000/vmm");
  EXPECT_EQ(NameLock::FolderOf(1000, nullptr), "/tmp/vmm-1000");
  EXPECT_EQ(NameLock::FolderOf(1000, ""), "/tmp/vmm-1000");
  EXPECT_EQ(NameLock::FolderOf(1000, "run"), "/tmp/vmm-1000");
}

}  // namespace
}  // namespace vmm
