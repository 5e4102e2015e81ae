#include "vmm/cli/this_program.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"

namespace vmm {
namespace {

namespace fs = std::filesystem;

// An open file stands for the program: the kernel says where either lies in the same way.
class ThisProgramTest : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = fs::canonical(testing::TempDir()) / absl::StrCat("this-program-", getpid());
    fs::create_directory(folder_);
  }
  void TearDown() override { fs::remove_all(folder_); }

  std::string Write(const std::string& name) const {
    const std::string path = folder_ / name;
    std::ofstream(path) << name;
    return path;
  }
  // /proc's link to what lies there now.
  std::string LinkTo(const std::string& path) {
    file_.Reset(open(path.c_str(), O_RDONLY | O_CLOEXEC));
    EXPECT_TRUE(file_.valid());
    return absl::StrCat("/proc/self/fd/", file_.get());
  }

  fs::path folder_;
  UniqueFd file_;
};

TEST_F(ThisProgramTest, IsTheRunningOne) {
  EXPECT_EQ(PathOfThisProgram(), fs::read_symlink("/proc/self/exe"));
}

TEST_F(ThisProgramTest, IsWhatAnUpgradePutInItsPlace) {
  const std::string path = Write("vmm");
  const std::string link = LinkTo(path);
  EXPECT_EQ(PathOfThisProgram(link), path);
  fs::rename(Write("vmm.new"), path);
  ASSERT_EQ(fs::read_symlink(link), path + " (deleted)");
  EXPECT_EQ(PathOfThisProgram(link), path);
}

TEST_F(ThisProgramTest, IsWhereItLayWhenItIsGone) {
  const std::string path = Write("vmm");
  const std::string link = LinkTo(path);
  fs::remove(path);
  EXPECT_EQ(PathOfThisProgram(link), path);
}

TEST_F(ThisProgramTest, MayBeCalledDeleted) {
  const std::string path = Write("vmm (deleted)");
  const std::string link = LinkTo(path);
  EXPECT_EQ(PathOfThisProgram(link), path);
  fs::remove(path);
  EXPECT_EQ(PathOfThisProgram(link), path);
}

TEST_F(ThisProgramTest, WithoutProcIsAName) {
  EXPECT_EQ(PathOfThisProgram(folder_ / "absent"), "vmm");
}

}  // namespace
}  // namespace vmm
