#include "guest_memory/shmem_huge_pages.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <string>

namespace vmm {
namespace {

using ::testing::AllOf;
using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class ShmemHugePagesTest : public testing::Test {
 protected:
  ShmemHugePagesTest() {
    const auto* info = testing::UnitTest::GetInstance()->current_test_info();
    directory_ = testing::TempDir() + "/thp-" + info->name();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_ + "/hugepages-2048kB");
  }

  // As the kernel prints it: all words, the selected one in brackets.
  void SelectForAllSizes(const std::string& word) {
    WriteSelection(all_sizes(), "always within_size advise never deny force", word);
  }
  void SelectForThisSize(const std::string& word) {
    WriteSelection(this_size(), "always inherit within_size advise never", word);
  }

  std::string all_sizes() const { return directory_ + "/shmem_enabled"; }
  std::string this_size() const { return directory_ + "/hugepages-2048kB/shmem_enabled"; }
  std::string Why() const { return WhyNoShmemHugePages(directory_); }

 private:
  static void WriteSelection(const std::string& path, std::string words, const std::string& word) {
    words.replace(words.find(word), word.size(), "[" + word + "]");
    std::ofstream(path) << words << "\n";
  }

  std::string directory_;
};

TEST_F(ShmemHugePagesTest, KernelBeforeSizesHasOneSetting) {
  for (const char* word : {"always", "within_size", "advise", "force"}) {
    SelectForAllSizes(word);
    EXPECT_THAT(Why(), IsEmpty()) << word;
  }
  for (const char* word : {"never", "deny"}) {
    SelectForAllSizes(word);
    EXPECT_THAT(Why(), AllOf(HasSubstr("\"" + std::string(word) + "\""),
                             EndsWith("echo advise > " + all_sizes())));
  }
}

TEST_F(ShmemHugePagesTest, SizeThatInheritsAsksTheGlobalSetting) {
  SelectForThisSize("inherit");
  for (const char* word : {"always", "within_size", "advise", "force"}) {
    SelectForAllSizes(word);
    EXPECT_THAT(Why(), IsEmpty()) << word;
  }
  for (const char* word : {"never", "deny"}) {
    SelectForAllSizes(word);
    EXPECT_THAT(Why(), EndsWith("echo advise > " + all_sizes())) << word;
  }
}

TEST_F(ShmemHugePagesTest, SizeDecidesForItselfUnderNever) {
  SelectForAllSizes("never");
  for (const char* word : {"always", "within_size", "advise"}) {
    SelectForThisSize(word);
    EXPECT_THAT(Why(), IsEmpty()) << word;
  }
}

TEST_F(ShmemHugePagesTest, SizeMaySayNever) {
  SelectForAllSizes("always");
  SelectForThisSize("never");
  EXPECT_THAT(Why(), EndsWith("echo advise > " + this_size()));
}

TEST_F(ShmemHugePagesTest, ForceReachesOnlySizesThatInherit) {
  SelectForAllSizes("force");
  SelectForThisSize("never");
  EXPECT_THAT(Why(), EndsWith("echo inherit > " + this_size()));
  SelectForThisSize("advise");
  EXPECT_THAT(Why(), EndsWith("echo inherit > " + this_size()));
}

TEST_F(ShmemHugePagesTest, DenyOverridesTheSize) {
  SelectForAllSizes("deny");
  SelectForThisSize("always");
  EXPECT_THAT(Why(), EndsWith("echo advise > " + all_sizes()));
}

TEST_F(ShmemHugePagesTest, MissingOrStrangeFileIsARefusal) {
  EXPECT_THAT(Why(), HasSubstr("cannot be read"));
  std::ofstream(all_sizes()) << "gibberish [] [\n";
  EXPECT_THAT(Why(), HasSubstr("cannot be read"));
}

TEST_F(ShmemHugePagesTest, IsOneLine) {
  SelectForAllSizes("never");
  EXPECT_THAT(Why(), Not(HasSubstr("\n")));
}

}  // namespace
}  // namespace vmm
