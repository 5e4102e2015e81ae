#include "tests/support/guest/pattern.h"

#include <string.h>

#include <algorithm>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace vmm::guest {
namespace {

constexpr uint64_t kSeed = 42;
constexpr uint64_t kFirst = 4096;

class PatternTest : public testing::Test {
 protected:
  PatternTest() { region_.Fill(); }

  uint64_t TotalErrors() const {
    uint64_t count = 0;
    for (size_t page = 0; page < region_.pages(); ++page) count += region_.Verify(page).count;
    return count;
  }

  std::vector<uint64_t> words_ = std::vector<uint64_t>(4 * kWordsPerPage);
  PatternRegion region_{words_.data(), 4, kFirst, kSeed};
};

TEST(PatternWordTest, DiffersByEachInput) {
  std::set<uint64_t> words;
  for (uint64_t seed = 0; seed < 8; ++seed) {
    for (uint64_t index = 0; index < 64; ++index) {
      for (uint32_t generation = 0; generation < 8; ++generation) {
        words.insert(PatternWord(seed, index, generation));
      }
    }
  }
  EXPECT_EQ(words.size(), 8u * 64 * 8);
}

TEST_F(PatternTest, IsIntactAfterFillAndAdvance) {
  EXPECT_EQ(TotalErrors(), 0u);
  EXPECT_EQ(words_[0], PatternWord(kSeed, kFirst, 0));
  EXPECT_EQ(region_.Advance(1).count, 0u);
  EXPECT_EQ(region_.Advance(1).count, 0u);
  EXPECT_EQ(words_[kWordsPerPage], PatternWord(kSeed, kFirst + kWordsPerPage, 2));
  EXPECT_EQ(TotalErrors(), 0u);
}

TEST_F(PatternTest, FindsOneChangedBit) {
  words_[2 * kWordsPerPage + 5] ^= 1;
  EXPECT_EQ(region_.Verify(1).count, 0u);
  const PatternErrors errors = region_.Verify(2);
  EXPECT_EQ(errors.count, 1u);
  EXPECT_EQ(errors.index, kFirst + 2 * kWordsPerPage + 5);
  EXPECT_EQ(errors.found ^ errors.expected, 1u);
}

TEST_F(PatternTest, FindsAStalePage) {
  const std::vector<uint64_t> before = words_;
  region_.Advance(3);
  memcpy(&words_[3 * kWordsPerPage], &before[3 * kWordsPerPage], 4096);
  EXPECT_EQ(region_.Verify(3).count, kWordsPerPage);
}

TEST_F(PatternTest, FindsATornPage) {
  const std::vector<uint64_t> before = words_;
  region_.Advance(0);
  memcpy(&words_[256], &before[256], 2048);
  EXPECT_EQ(region_.Verify(0).count, 256u);
  EXPECT_EQ(region_.Verify(0).index, kFirst + 256);
}

TEST_F(PatternTest, FindsAZeroedAndASwappedPage) {
  memset(&words_[0], 0, 4096);
  EXPECT_EQ(region_.Verify(0).count, kWordsPerPage);
  std::swap_ranges(&words_[kWordsPerPage], &words_[2 * kWordsPerPage], &words_[2 * kWordsPerPage]);
  EXPECT_EQ(region_.Verify(1).count, kWordsPerPage);
  EXPECT_EQ(region_.Verify(2).count, kWordsPerPage);
}

TEST_F(PatternTest, AdvanceReportsWhatItOverwrites) {
  words_[7] = 0;
  EXPECT_EQ(region_.Advance(0).index, kFirst + 7);
  EXPECT_EQ(region_.Advance(0).count, 0u);
}

TEST(PatternErrorsTest, MergeKeepsTheFirst) {
  PatternErrors errors;
  errors.Merge({});
  EXPECT_EQ(errors.count, 0u);
  errors.Merge({2, 10, 1, 0});
  errors.Merge({});
  errors.Merge({3, 20, 1, 0});
  EXPECT_EQ(errors.count, 5u);
  EXPECT_EQ(errors.index, 10u);
}

}  // namespace
}  // namespace vmm::guest
