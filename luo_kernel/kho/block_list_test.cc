#include "luo_kernel/kho/block_list.h"

#include <gtest/gtest.h>

#include <array>
#include <vector>

#include "luo_kernel/kho/test_machine.h"

namespace luo {
namespace {

struct Entry {
  uint64_t number;
  uint64_t more[3];
};
constexpr uint64_t kPerBlock = abi::EntriesPerBlock(sizeof(Entry));
static_assert(kPerBlock == 127);

class BlockListTest : public ::testing::Test {
 protected:
  void Fill(BlockListWriter& blocks, uint64_t count) {
    for (uint64_t i = 0; i < count; ++i) {
      ASSERT_TRUE(blocks.Append(Entry{i, {~i, 0, i * i}}).ok());
    }
  }
  absl::StatusOr<BlockList> Read(PhysicalAddress head) {
    return ReadBlockList(machine_.memory(), head, sizeof(Entry));
  }
  absl::StatusCode ReadWith(PhysicalAddress block, uint64_t next, uint64_t count) {
    EXPECT_TRUE(WriteStruct(machine_.memory(), block, abi::BlockHeader{next, count}).ok());
    return Read(block).status().code();
  }

  TestMachine machine_{64 << 20};
  OutgoingHandover handover_ = machine_.NewHandover();
};

TEST_F(BlockListTest, EntriesComeBackInOrderWhateverTheirNumber) {
  for (uint64_t count : {uint64_t{0}, uint64_t{1}, kPerBlock, kPerBlock + 1, 3 * kPerBlock + 5}) {
    BlockListWriter blocks(&handover_, sizeof(Entry));
    ASSERT_TRUE(blocks.Grow(count).ok());
    Fill(blocks, count);
    EXPECT_EQ(blocks.size(), count);
    absl::StatusOr<BlockList> list = Read(blocks.head());
    ASSERT_TRUE(list.ok()) << list.status();
    ASSERT_EQ(list->size(), count);
    EXPECT_EQ(list->blocks().size(), (count + kPerBlock - 1) / kPerBlock);
    for (uint64_t i = 0; i < count; ++i) {
      EXPECT_EQ(list->Get<Entry>(i).number, i);
      EXPECT_EQ(list->Get<Entry>(i).more[2], i * i);
      EXPECT_EQ((*list)[i].size(), sizeof(Entry));
    }
    ASSERT_TRUE(blocks.Free().ok());
    EXPECT_EQ(handover_.preserved_pages(), 1u);
  }
}

TEST_F(BlockListTest, BlocksArePreservedAndRestoredTogether) {
  BlockListWriter blocks(&handover_, sizeof(Entry));
  ASSERT_TRUE(blocks.Grow(2 * kPerBlock).ok());
  Fill(blocks, 2 * kPerBlock);
  auto incoming = IncomingHandover::Open(machine_.memory(), handover_.data());
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  absl::StatusOr<BlockList> list = Read(blocks.head());
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_TRUE(incoming->RestorePages(list->blocks()[1], 1).ok());
  EXPECT_EQ(RestoreBlocks(*incoming, *list).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(incoming->RestoreFolio(list->blocks()[0]).value(), 0u);
  auto again = IncomingHandover::Open(machine_.memory(), handover_.data());
  EXPECT_TRUE(RestoreBlocks(*again, *list).ok());
  EXPECT_EQ(again->preserved().pages(), 1u);
}

TEST_F(BlockListTest, RoomIsMadeBeforeItIsFilledAndGivenBackUnused) {
  BlockListWriter blocks(&handover_, sizeof(Entry));
  EXPECT_EQ(blocks.Append(Entry{}).code(), absl::StatusCode::kResourceExhausted);
  ASSERT_TRUE(blocks.Grow(3 * kPerBlock).ok());
  ASSERT_TRUE(blocks.Grow(1).ok());
  EXPECT_EQ(blocks.capacity(), 3 * kPerBlock);
  Fill(blocks, kPerBlock + 1);
  // A kernel does not take the empty third block.
  EXPECT_EQ(Read(blocks.head()).status().code(), absl::StatusCode::kDataLoss);
  ASSERT_TRUE(blocks.Shrink(blocks.size()).ok());
  EXPECT_EQ(blocks.capacity(), 2 * kPerBlock);
  EXPECT_EQ(Read(blocks.head())->size(), kPerBlock + 1);

  ASSERT_TRUE(blocks.Clear().ok());
  EXPECT_EQ(blocks.size(), 0u);
  EXPECT_EQ(blocks.capacity(), 2 * kPerBlock);
  Fill(blocks, 2 * kPerBlock);
  EXPECT_EQ(blocks.Append(Entry{}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Read(blocks.head())->size(), 2 * kPerBlock);

  ASSERT_TRUE(blocks.Shrink(1).ok());
  EXPECT_EQ(blocks.size(), kPerBlock);
  ASSERT_TRUE(blocks.Shrink(0).ok());
  EXPECT_EQ(blocks.head(), PhysicalAddress(0));
  ASSERT_TRUE(blocks.Shrink(0).ok());
  EXPECT_EQ(handover_.preserved_pages(), 1u);
}

TEST_F(BlockListTest, ThereIsALimitAndReachingItChangesNothing) {
  BlockListWriter blocks(&handover_, sizeof(Entry));
  ASSERT_TRUE(blocks.Grow(1).ok());
  EXPECT_EQ(blocks.Grow(abi::kMaxBlocks * kPerBlock + 1).code(),
            absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(blocks.Grow(~uint64_t{0}).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(handover_.preserved_pages(), 2u);
  ASSERT_TRUE(blocks.Grow(abi::kMaxBlocks * kPerBlock).ok());
  Fill(blocks, abi::kMaxBlocks * kPerBlock);
  absl::StatusOr<BlockList> list = Read(blocks.head());
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->size(), abi::kMaxBlocks * kPerBlock);
  // One more in front, by hand.
  EXPECT_EQ(ReadWith(machine_.Page(), blocks.head().value(), 1), absl::StatusCode::kDataLoss);
}

TEST_F(BlockListTest, WithoutMemoryLeftGrowingChangesNothing) {
  BlockListWriter blocks(&handover_, sizeof(Entry));
  ASSERT_TRUE(blocks.Grow(1).ok());
  Fill(blocks, 1);
  std::vector<PhysicalAddress> pages;
  for (auto page = machine_.arena().Allocate(0); page.ok(); page = machine_.arena().Allocate(0)) {
    pages.push_back(*page);
  }
  for (int i = 0; i < 3; ++i) {
    ASSERT_TRUE(machine_.arena().Free(pages.back(), 0).ok());
    pages.pop_back();
  }
  EXPECT_EQ(blocks.Grow(10 * kPerBlock).code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(blocks.capacity(), kPerBlock);
  EXPECT_EQ(machine_.arena().free_pages(), 3u);
  EXPECT_EQ(Read(blocks.head())->size(), 1u);
}

TEST_F(BlockListTest, EntriesHaveASizeThatFits) {
  for (uint64_t size : {uint64_t{0}, abi::kBlockSize - 15, ~uint64_t{0}}) {
    BlockListWriter blocks(&handover_, size);
    EXPECT_EQ(blocks.Grow(1).code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(blocks.Shrink(0).ok());
    EXPECT_EQ(ReadBlockList(machine_.memory(), PhysicalAddress(0), size).status().code(),
              absl::StatusCode::kInvalidArgument);
  }
  using Whole = std::array<std::byte, abi::kBlockSize - 16>;
  BlockListWriter whole(&handover_, sizeof(Whole));
  ASSERT_TRUE(whole.Grow(2).ok());
  ASSERT_TRUE(whole.Append(Whole{std::byte{1}}).ok());
  ASSERT_TRUE(whole.Append(Whole{std::byte{2}}).ok());
  EXPECT_EQ(whole.Append(Entry{}).code(), absl::StatusCode::kInvalidArgument);
  absl::StatusOr<BlockList> list = ReadBlockList(machine_.memory(), whole.head(), sizeof(Whole));
  ASSERT_TRUE(list.ok()) << list.status();
  EXPECT_EQ(list->Get<Whole>(1)[0], std::byte{2});
}

TEST_F(BlockListTest, ListsThatCannotBeAreRefused) {
  const PhysicalAddress one = machine_.Page();
  const PhysicalAddress two = machine_.Page();
  EXPECT_EQ(ReadWith(one, 0, 1), absl::StatusCode::kOk);
  EXPECT_EQ(ReadWith(one, 0, 0), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadWith(one, 0, kPerBlock + 1), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadWith(one, 0, uint64_t{1} << 59), absl::StatusCode::kDataLoss);  // x 32 wraps
  EXPECT_EQ(ReadWith(one, 0, ~uint64_t{0}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadWith(one, one.value(), 1), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadWith(one, two.value() + 16, 1), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadWith(one, 0x1000, 1), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ReadWith(one, ~uint64_t{0xfff}, 1), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ReadWith(two, one.value(), 1), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(ReadWith(one, two.value(), 1), absl::StatusCode::kDataLoss);  // one, two, one
  EXPECT_EQ(Read(PhysicalAddress(8)).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace luo
