#include "luo_kernel/kho/radix_tree.h"

#include <gtest/gtest.h>

#include <vector>

#include "luo_kernel/kho/test_machine.h"

namespace luo {
namespace {

// The page at the end of a key's path in memory, found by the arithmetic of KHO.md alone; 0 if the
// path ends early.
uint64_t WalkByHand(const PhysicalMemory& memory, uint64_t node, uint64_t key) {
  for (unsigned shift : {51, 42, 33, 24, 15}) {
    const uint64_t slot = key >> shift & 511;
    node = ReadStruct<uint64_t>(memory, PhysicalAddress(node + 8 * slot)).value();
    if (node == 0) return 0;
  }
  return node;
}

bool BitIsSet(const PhysicalMemory& memory, uint64_t leaf, uint64_t key) {
  const uint64_t bit = key & 32767;
  const uint64_t word =
      ReadStruct<uint64_t>(memory, PhysicalAddress(leaf + 8 * (bit / 64))).value();
  return (word >> (bit % 64) & 1) != 0;
}

TEST(RadixTreeTest, ABlockIsABitWhereItsKeySays) {
  TestMachine machine;
  auto tree = RadixTree::Create(&machine.memory(), &machine.arena()).value();
  EXPECT_EQ(tree->node_pages(), 1u);
  ASSERT_TRUE(tree->Insert(PhysicalAddress(0x123456000), 0).ok());
  EXPECT_EQ(tree->node_pages(), 6u);
  const uint64_t key = uint64_t{1} << 52 | 0x123456;
  const uint64_t leaf = WalkByHand(machine.memory(), tree->root().value(), key);
  ASSERT_NE(leaf, 0u);
  EXPECT_TRUE(BitIsSet(machine.memory(), leaf, key));
  EXPECT_FALSE(BitIsSet(machine.memory(), leaf, key + 1));

  ASSERT_TRUE(tree->Insert(PhysicalAddress(0x40000000), 9).ok());
  const uint64_t huge = uint64_t{1} << 43 | 0x200;
  const uint64_t huge_leaf = WalkByHand(machine.memory(), tree->root().value(), huge);
  ASSERT_NE(huge_leaf, 0u);
  EXPECT_NE(huge_leaf, leaf);
  EXPECT_TRUE(BitIsSet(machine.memory(), huge_leaf, huge));

  tree->Erase(PhysicalAddress(0x123456000), 0);
  EXPECT_FALSE(BitIsSet(machine.memory(), leaf, key));
  EXPECT_FALSE(tree->Has(PhysicalAddress(0x123456000), 0));
  // The empty leaf stays.
  EXPECT_EQ(WalkByHand(machine.memory(), tree->root().value(), key), leaf);
}

TEST(RadixTreeTest, NeighboursShareALeafAndOrdersDoNot) {
  TestMachine machine;
  auto tree = RadixTree::Create(&machine.memory(), &machine.arena()).value();
  for (uint64_t page = 0; page < 32768; ++page) {
    ASSERT_TRUE(tree->Insert(PhysicalAddress(page << 12), 0).ok());
  }
  EXPECT_EQ(tree->node_pages(), 6u);
  ASSERT_TRUE(tree->Insert(PhysicalAddress(uint64_t{32768} << 12), 0).ok());
  EXPECT_EQ(tree->node_pages(), 7u);
  ASSERT_TRUE(tree->Insert(PhysicalAddress(uint64_t{1} << 40), 51 - 12).ok());
  EXPECT_TRUE(tree->Has(PhysicalAddress(uint64_t{1} << 40), 51 - 12));
}

TEST(RadixTreeTest, EveryOrderHasItsPlace) {
  TestMachine machine;
  auto tree = RadixTree::Create(&machine.memory(), &machine.arena()).value();
  for (unsigned order = 0; order <= abi::kMaxRadixOrder; ++order) {
    ASSERT_TRUE(tree->Insert(PhysicalAddress(BytesOfOrder(order)), order).ok());
  }
  for (unsigned order = 0; order <= abi::kMaxRadixOrder; ++order) {
    EXPECT_TRUE(tree->Has(PhysicalAddress(BytesOfOrder(order)), order));
    EXPECT_FALSE(tree->Has(PhysicalAddress(0), order));
    tree->Erase(PhysicalAddress(BytesOfOrder(order)), order);
    EXPECT_FALSE(tree->Has(PhysicalAddress(BytesOfOrder(order)), order));
  }
}

TEST(RadixTreeTest, InsertingTwiceIsOnce) {
  TestMachine machine;
  auto tree = RadixTree::Create(&machine.memory(), &machine.arena()).value();
  ASSERT_TRUE(tree->Insert(PhysicalAddress(0x1000), 0).ok());
  ASSERT_TRUE(tree->Insert(PhysicalAddress(0x1000), 0).ok());
  EXPECT_TRUE(tree->FindOverlap(PhysicalAddress(0), 1).has_value());
  tree->Erase(PhysicalAddress(0x1000), 0);
  tree->Erase(PhysicalAddress(0x1000), 0);
  tree->Erase(PhysicalAddress(0x8000000000), 0);
  EXPECT_FALSE(tree->FindOverlap(PhysicalAddress(0), 1).has_value());
}

TEST(RadixTreeTest, OverlapsAreFoundAcrossLeaves) {
  TestMachine machine;
  auto tree = RadixTree::Create(&machine.memory(), &machine.arena()).value();
  // The last page of the fourth leaf of single pages.
  const PhysicalAddress page((uint64_t{4} * 32768 - 1) << 12);
  ASSERT_TRUE(tree->Insert(page, 0).ok());
  EXPECT_EQ(tree->FindOverlap(PhysicalAddress(0), 17), (abi::RadixEntry{page.value(), 0}));
  EXPECT_EQ(tree->FindOverlap(PhysicalAddress(0), 16), std::nullopt);
  EXPECT_EQ(tree->FindOverlap(PhysicalAddress(uint64_t{1} << 28), 16),
            (abi::RadixEntry{page.value(), 0}));
}

TEST(RadixTreeTest, RunningOutOfPagesTakesNone) {
  TestMachine machine;
  auto tree = RadixTree::Create(&machine.memory(), &machine.arena()).value();
  std::vector<PhysicalAddress> pages;
  for (auto page = machine.arena().Allocate(0); page.ok(); page = machine.arena().Allocate(0)) {
    pages.push_back(*page);
  }
  // A path takes five pages; four are not enough.
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(tree->Insert(PhysicalAddress(0x1000), 0).code(),
              absl::StatusCode::kResourceExhausted);
    EXPECT_EQ(machine.arena().free_pages(), static_cast<uint64_t>(i));
    ASSERT_TRUE(machine.arena().Free(pages.back(), 0).ok());
    pages.pop_back();
  }
  EXPECT_FALSE(tree->Insert(PhysicalAddress(0x1000), 0).ok());
  EXPECT_EQ(machine.arena().free_pages(), 4u);
  EXPECT_FALSE(tree->Has(PhysicalAddress(0x1000), 0));
  EXPECT_EQ(tree->node_pages(), 1u);
  ASSERT_TRUE(machine.arena().Free(pages.back(), 0).ok());
  EXPECT_TRUE(tree->Insert(PhysicalAddress(0x1000), 0).ok());
  EXPECT_EQ(machine.arena().free_pages(), 0u);
}

}  // namespace
}  // namespace luo
