#include "luo_kernel/kho/arena.h"

#include <gtest/gtest.h>
#include <string.h>

#include <algorithm>
#include <random>
#include <set>
#include <vector>

#include "luo_kernel/kho/extent_memory.h"

namespace luo {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
constexpr uint64_t kBase = uint64_t{1} << 32;

PhysicalAddress PageAt(uint64_t page) { return PhysicalAddress(kBase + page * kPage); }

class ArenaTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kPages = 3000;  // no power of two
  void SetUp() override {
    ASSERT_TRUE(memory_
                    .Add(PhysicalAddress(kBase), NewMemoryFile("test", kPages * kPage).value(), 0,
                         kPages * kPage, ExtentUse::kMetadata)
                    .ok());
  }
  Arena New() { return Arena::Create(&memory_, {PhysicalAddress(kBase), kPages * kPage}).value(); }
  ExtentMemory memory_;
};

TEST_F(ArenaTest, BlocksAreAlignedZeroedAndApart) {
  Arena arena = New();
  std::set<uint64_t> pages;
  uint64_t free_pages = kPages;
  for (unsigned order = 0; order <= Arena::kMaxOrder; ++order) {
    const PhysicalAddress block = arena.Allocate(order).value();
    EXPECT_EQ(block.value() % BytesOfOrder(order), 0u);
    for (uint64_t i = 0; i < uint64_t{1} << order; ++i) {
      EXPECT_TRUE(pages.insert(block.frame() + i).second);
    }
    free_pages -= uint64_t{1} << order;
    EXPECT_EQ(arena.free_pages(), free_pages);
  }
  const PhysicalAddress page = arena.Allocate(0).value();
  memset(memory_.Write(page, kPage)->data(), 0xff, kPage);
  ASSERT_TRUE(arena.Free(page, 0).ok());
  const PhysicalAddress again = arena.Allocate(0).value();
  EXPECT_EQ(again, page);
  EXPECT_EQ(ReadStruct<uint64_t>(memory_, again).value(), 0u);
}

TEST_F(ArenaTest, EverythingFreedIsOnePieceAgain) {
  Arena arena = New();
  std::vector<PhysicalAddress> pages;
  for (uint64_t i = 0; i < kPages; ++i) pages.push_back(arena.Allocate(0).value());
  EXPECT_EQ(arena.free_pages(), 0u);
  EXPECT_EQ(arena.Allocate(0).status().code(), absl::StatusCode::kResourceExhausted);
  std::shuffle(pages.begin(), pages.end(), std::mt19937(1));
  for (PhysicalAddress page : pages) ASSERT_TRUE(arena.Free(page, 0).ok());
  EXPECT_EQ(arena.free_pages(), kPages);
  EXPECT_TRUE(arena.Allocate(Arena::kMaxOrder).ok());
  EXPECT_TRUE(arena.Allocate(Arena::kMaxOrder).ok());
  EXPECT_FALSE(arena.Allocate(Arena::kMaxOrder).ok());
}

TEST_F(ArenaTest, RefusesToFreeWhatIsFreeOrNotItsOwn) {
  Arena arena = New();
  const PhysicalAddress block = PageAt(64);
  ASSERT_TRUE(arena.Reserve({block, 16 * kPage}).ok());
  EXPECT_EQ(arena.Free(PhysicalAddress(block.value() + kPage), 4).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(arena.Free(block, 11).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(arena.Free(PhysicalAddress(0), 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(arena.Free(PageAt(kPages), 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(arena.Free(block, 5).code(), absl::StatusCode::kFailedPrecondition);
  ASSERT_TRUE(arena.Free(block, 3).ok());  // a part
  EXPECT_EQ(arena.Free(block, 4).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(arena.Free(block, 0).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(arena.Free(PhysicalAddress(block.value() + 8 * kPage), 3).ok());
  EXPECT_EQ(arena.free_pages(), kPages);
  EXPECT_EQ(arena.Allocate(11).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(ArenaTest, ReservesJustThosePages) {
  Arena arena = New();
  ASSERT_TRUE(arena.Reserve({PageAt(5), 700 * kPage}).ok());
  EXPECT_EQ(arena.free_pages(), kPages - 700);
  EXPECT_TRUE(arena.IsFree(PageAt(4)));
  EXPECT_FALSE(arena.IsFree(PageAt(5)));
  EXPECT_FALSE(arena.IsFree(PageAt(704)));
  EXPECT_TRUE(arena.IsFree(PageAt(705)));
  EXPECT_EQ(arena.Reserve({PageAt(704), 2 * kPage}).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(arena.Reserve({PageAt(0), 6 * kPage}).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(arena.free_pages(), kPages - 700);
  // What lies outside is none of its business.
  EXPECT_TRUE(arena.Reserve({PhysicalAddress(0), kBase}).ok());
  EXPECT_TRUE(arena.Reserve({PageAt(kPages - 1), 10 * kPage}).ok());
  EXPECT_EQ(arena.free_pages(), kPages - 701);
  EXPECT_EQ(arena.Reserve({PhysicalAddress(kBase + 1), kPage}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(arena.Reserve({PhysicalAddress(kBase), ~uint64_t{0xfff}}).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ArenaTest, RefusesWhatIsNoArena) {
  const auto create = [&](uint64_t start, uint64_t size) {
    return Arena::Create(&memory_, {PhysicalAddress(start), size}).status().code();
  };
  EXPECT_EQ(create(kBase, 0), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create(kBase + 1, kPage), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create(kBase, kPage + 1), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create(kBase, ~uint64_t{0xfff}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create(kBase, (kPages + 1) * kPage), absl::StatusCode::kOutOfRange);
}

TEST(ArenaAtZeroTest, NeverGivesTheAddressThatMeansNothing) {
  ExtentMemory memory;
  ASSERT_TRUE(memory
                  .Add(PhysicalAddress(0), NewMemoryFile("test", 4 * kPage).value(), 0, 4 * kPage,
                       ExtentUse::kMetadata)
                  .ok());
  Arena arena = Arena::Create(&memory, {PhysicalAddress(0), 4 * kPage}).value();
  EXPECT_EQ(arena.free_pages(), 3u);
  for (int i = 0; i < 3; ++i) EXPECT_NE(arena.Allocate(0).value().value(), 0u);
  EXPECT_FALSE(arena.Allocate(0).ok());
  EXPECT_FALSE(arena.Free(PhysicalAddress(0), 0).ok());
}

TEST_F(ArenaTest, AgreesWithASetOfPagesOverRandomCalls) {
  Arena arena = New();
  std::mt19937 random(7);
  std::vector<bool> taken(kPages);
  uint64_t free_pages = kPages;
  const auto all = [&](uint64_t first, uint64_t count, bool value) {
    for (uint64_t i = first; i < first + count; ++i) {
      if (taken[i] != value) return false;
    }
    return true;
  };
  const auto set = [&](uint64_t first, uint64_t count, bool value) {
    for (uint64_t i = first; i < first + count; ++i) taken[i] = value;
    free_pages = value ? free_pages - count : free_pages + count;
  };
  for (int step = 0; step < 20000; ++step) {
    const unsigned order = random() % 6;
    switch (random() % 4) {
      case 0:
      case 1: {
        const auto block = arena.Allocate(order);
        if (!block.ok()) break;
        const uint64_t first = block->frame() - (kBase >> abi::kPageShift);
        ASSERT_TRUE(all(first, uint64_t{1} << order, false));
        set(first, uint64_t{1} << order, true);
        break;
      }
      case 2: {
        const uint64_t first = random() % kPages >> order << order;
        if (first + (uint64_t{1} << order) > kPages) break;
        const bool expected = all(first, uint64_t{1} << order, true);
        ASSERT_EQ(arena.Free(PageAt(first), order).ok(), expected);
        if (expected) set(first, uint64_t{1} << order, false);
        break;
      }
      case 3: {
        const uint64_t first = random() % kPages;
        const uint64_t count = std::min<uint64_t>(1 + random() % 20, kPages - first);
        const bool expected = all(first, count, false);
        ASSERT_EQ(arena.Reserve({PageAt(first), count * kPage}).ok(), expected);
        if (expected) set(first, count, true);
        break;
      }
    }
    ASSERT_EQ(arena.free_pages(), free_pages);
  }
  for (uint64_t i = 0; i < kPages; ++i) EXPECT_EQ(arena.IsFree(PageAt(i)), !taken[i]);
}

}  // namespace
}  // namespace luo
