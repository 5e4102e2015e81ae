#include "tests/support/live_update_files/files.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <set>
#include <utility>

namespace vmm {
namespace {

using ::testing::HasSubstr;

TEST(TestFilesTest, EachIsWhatItWasMadeAs) {
  for (const TestFile& file : TestFiles()) {
    auto fd = MakeTestFile(file);
    ASSERT_TRUE(fd.ok()) << fd.status();
    EXPECT_EQ(CheckTestFile(file, fd->get()), absl::OkStatus());
  }
}

TEST(TestFilesTest, NoTwoHaveASessionAndATokenInCommon) {
  std::set<std::pair<std::string, uint64_t>> seen;
  for (const TestFile& file : TestFiles()) {
    EXPECT_TRUE(seen.emplace(file.session, file.token).second) << DescribeTestFile(file);
    EXPECT_LE(file.session.size(), 63u);
  }
}

TEST(TestFilesTest, OneWrongByteIsSeen) {
  const TestFile file = {.session = "a", .token = 1, .size = 300'001};
  auto fd = MakeTestFile(file);
  ASSERT_TRUE(fd.ok());
  uint8_t byte;
  ASSERT_EQ(pread(fd->get(), &byte, 1, 300'000), 1);
  byte ^= 1;
  ASSERT_EQ(pwrite(fd->get(), &byte, 1, 300'000), 1);
  EXPECT_THAT(CheckTestFile(file, fd->get()).message(), HasSubstr("another byte at 300000"));
}

TEST(TestFilesTest, AnotherPositionSizeOrSealIsSeen) {
  const TestFile file = {.session = "a", .token = 1, .size = 100};
  auto fd = MakeTestFile(file);
  ASSERT_TRUE(fd.ok());
  lseek(fd->get(), 1, SEEK_SET);
  EXPECT_THAT(CheckTestFile(file, fd->get()).message(), HasSubstr("position"));
  ASSERT_EQ(ftruncate(fd->get(), 99), 0);
  EXPECT_THAT(CheckTestFile(file, fd->get()).message(), HasSubstr("size"));
  TestFile sealed = file;
  sealed.size = 99;
  sealed.seals = F_SEAL_GROW;
  EXPECT_THAT(CheckTestFile(sealed, fd->get()).message(), HasSubstr("seals"));
}

}  // namespace
}  // namespace vmm
