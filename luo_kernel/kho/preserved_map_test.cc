// Trees made by hand, most of them wrong.
#include "luo_kernel/kho/preserved_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "luo_kernel/kho/test_machine.h"

namespace luo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = 1 << 20;

class PreservedMapTest : public ::testing::Test {
 protected:
  absl::StatusOr<PreservedMap> Read() { return PreservedMap::Read(machine_.memory(), root_); }

  absl::StatusCode Code() { return Read().status().code(); }
  std::string Message() { return std::string(Read().status().message()); }

  uint64_t Get(PhysicalAddress node, uint64_t slot) {
    return ReadStruct<uint64_t>(machine_.memory(), PhysicalAddress(node.value() + 8 * slot))
        .value();
  }
  void Set(PhysicalAddress node, uint64_t slot, uint64_t value) {
    ASSERT_TRUE(
        WriteStruct(machine_.memory(), PhysicalAddress(node.value() + 8 * slot), value).ok());
  }
  // The node of `level` on the key's path, made where it is not there.
  PhysicalAddress Node(uint64_t key, unsigned level) {
    PhysicalAddress node = root_;
    for (unsigned at = abi::kRadixDepth - 1; at > level; --at) {
      const uint64_t slot = abi::RadixTableIndex(key, at);
      if (Get(node, slot) == 0) Set(node, slot, machine_.Page().value());
      node = PhysicalAddress(Get(node, slot));
    }
    return node;
  }
  void SetKey(uint64_t key) {
    const PhysicalAddress leaf = Node(key, 0);
    const uint64_t word = abi::RadixBitmapIndex(key) / 64;
    Set(leaf, word, Get(leaf, word) | uint64_t{1} << (key % 64));
  }
  void Preserve(uint64_t address, unsigned order) { SetKey(abi::EncodeRadixKey(address, order)); }

  TestMachine machine_;
  const PhysicalAddress root_ = machine_.Page();
  const uint64_t data_ = machine_.AddData(256 * kMiB).value();
};

TEST_F(PreservedMapTest, AnEmptyTreeIsAnEmptyMap) {
  absl::StatusOr<PreservedMap> map = Read();
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(map->blocks(), 0u);
  EXPECT_THAT(map->node_pages(), ElementsAre(root_));
  EXPECT_EQ(map->OrderAt(PhysicalAddress(data_)).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(PreservedMapTest, GivesBlocksFromTheLargestOrderOnByAddress) {
  Preserve(data_ + 0x5000, 0);
  Preserve(data_ + 128 * kMiB, 0);
  Preserve(data_ + 0x1000, 0);
  Preserve(data_ + 4 * kMiB, 9);
  Preserve(data_ + 0x8000, 3);
  absl::StatusOr<PreservedMap> map = Read();
  ASSERT_TRUE(map.ok()) << map.status();
  std::vector<abi::RadixEntry> blocks;
  ASSERT_TRUE(map->ForEach([&](PhysicalAddress address, unsigned order) {
                   blocks.push_back({address.value() - data_, order});
                   return absl::OkStatus();
                 })
                  .ok());
  using Entry = abi::RadixEntry;
  EXPECT_THAT(blocks, ElementsAre(Entry{4 * kMiB, 9}, Entry{0x8000, 3}, Entry{0x1000, 0},
                                  Entry{0x5000, 0}, Entry{128 * kMiB, 0}));
  EXPECT_EQ(map->pages(), 512 + 8 + 3u);
  EXPECT_EQ(map->FindIn({PhysicalAddress(data_ + 0x9000), 1}), (Entry{data_ + 0x8000, 3}));
  EXPECT_EQ(map->FindIn({PhysicalAddress(data_ + 0x6000), 0x2000}), std::nullopt);
  EXPECT_EQ(map->FindIn({PhysicalAddress(0), data_ + 0x1001}), (Entry{data_ + 0x1000, 0}));
}

TEST_F(PreservedMapTest, AVisitorsErrorEndsTheWalk) {
  Preserve(data_, 0);
  Preserve(data_ + 0x1000, 0);
  absl::StatusOr<PreservedMap> map = Read();
  ASSERT_TRUE(map.ok()) << map.status();
  int visits = 0;
  EXPECT_EQ(map->ForEach([&](PhysicalAddress, unsigned) {
                 ++visits;
                 return absl::CancelledError();
               })
                .code(),
            absl::StatusCode::kCancelled);
  EXPECT_EQ(visits, 1);
}

TEST_F(PreservedMapTest, WhatIsTakenIsGoneUntilItIsPutBack) {
  Preserve(data_, 9);
  absl::StatusOr<PreservedMap> map = Read();
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_FALSE(map->Take(PhysicalAddress(data_), 8));
  EXPECT_TRUE(map->Take(PhysicalAddress(data_), 9));
  EXPECT_FALSE(map->Take(PhysicalAddress(data_), 9));
  EXPECT_EQ(map->pages(), 0u);
  map->Put(PhysicalAddress(data_), 9);
  map->Put(PhysicalAddress(data_), 9);
  EXPECT_EQ(map->pages(), 512u);
  // The tree in memory was not touched.
  EXPECT_EQ(Read()->pages(), 512u);
}

TEST_F(PreservedMapTest, IsACopyThatLaterChangesDoNotReach) {
  Preserve(data_, 0);
  absl::StatusOr<PreservedMap> map = Read();
  ASSERT_TRUE(map.ok()) << map.status();
  Set(root_, abi::RadixTableIndex(abi::EncodeRadixKey(data_, 0), 5), 0xdead);
  EXPECT_EQ(map->OrderAt(PhysicalAddress(data_)).value(), 0u);
}

TEST_F(PreservedMapTest, CyclesAreFound) {
  const uint64_t key = abi::EncodeRadixKey(data_, 0);
  Set(Node(key, 1), abi::RadixTableIndex(key, 1), root_.value());
  EXPECT_EQ(Code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(), HasSubstr("reached twice"));
}

TEST_F(PreservedMapTest, ARootThatIsItsOwnChildIsFound) {
  Set(root_, 2, root_.value());
  EXPECT_EQ(Code(), absl::StatusCode::kDataLoss);
}

TEST_F(PreservedMapTest, SharedNodesAreFoundBeforeTheyMultiplyTheWork) {
  // Each table leads 512 times to the next: 2^45 paths in six pages.
  std::vector<PhysicalAddress> nodes = {root_};
  for (int i = 0; i < 5; ++i) nodes.push_back(machine_.Page());
  for (int i = 0; i < 5; ++i) {
    for (uint64_t slot = 0; slot < 512; ++slot) Set(nodes[i], slot, nodes[i + 1].value());
  }
  EXPECT_EQ(Code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(), HasSubstr("reached twice"));
}

TEST_F(PreservedMapTest, NodesOutsideMemoryAreRefused) {
  for (uint64_t address : {uint64_t{0x1000}, ~uint64_t{0xfff}}) {
    Set(root_, 2, address);
    EXPECT_EQ(Code(), absl::StatusCode::kOutOfRange);
  }
  EXPECT_EQ(PreservedMap::Read(machine_.memory(), PhysicalAddress(0)).status().code(),
            absl::StatusCode::kOutOfRange);
  // In memory that is not metadata.
  Set(root_, 2, data_);
  EXPECT_EQ(Code(), absl::StatusCode::kPermissionDenied);
}

TEST_F(PreservedMapTest, NodesAmidAPageAreRefused) {
  Set(root_, 2, machine_.Page().value() + 8);
  EXPECT_EQ(Code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(
      PreservedMap::Read(machine_.memory(), PhysicalAddress(root_.value() + 1)).status().code(),
      absl::StatusCode::kDataLoss);
}

TEST_F(PreservedMapTest, KeysThatMeanNothingAreRefused) {
  Set(root_, 4, machine_.Page().value());
  EXPECT_EQ(Code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(), HasSubstr("mean nothing"));
  Set(root_, 4, 0);
  for (uint64_t key : {0, 1}) {
    SetKey(key);
    EXPECT_EQ(Code(), absl::StatusCode::kDataLoss) << key;
    Set(Node(key, 0), 0, 0);
  }
  EXPECT_TRUE(Read().ok());
}

TEST_F(PreservedMapTest, BlocksOutsideMemoryAreRefused) {
  const std::vector<abi::RadixEntry> outside = {
      {data_ + 256 * kMiB, 0}, {data_ - 0x1000, 0}, {0, 51}, {0, 38}, {0, 30},
      {~uint64_t{0xfff}, 0},   {data_, 17},  // half of it
  };
  for (const abi::RadixEntry& block : outside) {
    Preserve(data_, 16);
    Preserve(block.address, block.order);
    EXPECT_EQ(Code(), absl::StatusCode::kOutOfRange) << block.order;
    const uint64_t key = abi::EncodeRadixKey(block.address, block.order);
    Set(Node(key, 0), abi::RadixBitmapIndex(key) / 64, 0);
  }
  EXPECT_EQ(Code(), absl::StatusCode::kOk);
}

TEST_F(PreservedMapTest, OverlapsAreFoundForEveryPairOfOrders) {
  for (unsigned small = 0; small < 15; ++small) {
    for (unsigned large = small + 1; large <= 15; ++large) {
      // The last small block inside the large one, and the next one, outside.
      const uint64_t inside = data_ + BytesOfOrder(large) - BytesOfOrder(small);
      const uint64_t large_key = abi::EncodeRadixKey(data_, large);
      for (uint64_t address : {inside, inside + BytesOfOrder(small)}) {
        const uint64_t small_key = abi::EncodeRadixKey(address, small);
        SetKey(large_key);
        SetKey(small_key);
        EXPECT_EQ(Code(), address == inside ? absl::StatusCode::kDataLoss : absl::StatusCode::kOk)
            << small << " " << large;
        Set(Node(large_key, 0), abi::RadixBitmapIndex(large_key) / 64, 0);
        Set(Node(small_key, 0), abi::RadixBitmapIndex(small_key) / 64, 0);
      }
    }
  }
}

TEST_F(PreservedMapTest, ATreeThatPreservesItselfIsRefused) {
  Preserve(root_.value(), 0);
  EXPECT_EQ(Code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(Message(), HasSubstr("node of the tree"));
}

// Memory so large that blocks of 2^50 bytes, which share a leaf, lie inside.
class VastMemory : public PhysicalMemory {
 public:
  explicit VastMemory(const PhysicalMemory* real) : real_(real) {}
  absl::StatusOr<absl::Span<const std::byte>> Read(PhysicalAddress address,
                                                   uint64_t size) const override {
    return real_->Read(address, size);
  }
  bool Contains(PhysicalAddress address, uint64_t size) const override {
    return size == 0 || address.value() + (size - 1) >= address.value();
  }
  uint64_t size() const override { return ~uint64_t{0}; }

 private:
  const PhysicalMemory* real_;
};

TEST_F(PreservedMapTest, TheLargestOrdersAreReadAndComparedToo) {
  const VastMemory vast(&machine_.memory());
  const uint64_t top = uint64_t{1} << 63;
  Preserve(top, 51);
  absl::StatusOr<PreservedMap> map = PreservedMap::Read(vast, root_);
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_EQ(map->BlockOf(PhysicalAddress(~uint64_t{0})).value(), (abi::RadixEntry{top, 51}));
  EXPECT_TRUE(map->Covers({PhysicalAddress(top), top}));
  EXPECT_FALSE(map->Covers({PhysicalAddress(top - 1), 2}));
  EXPECT_EQ(map->FindIn({PhysicalAddress(top), 1}), (abi::RadixEntry{top, 51}));
  EXPECT_EQ(map->FindIn({PhysicalAddress(0), top}), std::nullopt);
  for (unsigned order : {50u, 40u, 38u, 37u, 20u, 0u}) {
    const uint64_t key = abi::EncodeRadixKey(uint64_t{0} - BytesOfOrder(order), order);
    SetKey(key);
    EXPECT_EQ(PreservedMap::Read(vast, root_).status().code(), absl::StatusCode::kDataLoss)
        << order;
    const PhysicalAddress leaf = Node(key, 0);
    const uint64_t word = abi::RadixBitmapIndex(key) / 64;
    Set(leaf, word, Get(leaf, word) & ~(uint64_t{1} << (key % 64)));
  }
  Preserve(uint64_t{1} << 50, 37);
  EXPECT_TRUE(PreservedMap::Read(vast, root_).ok());
}

}  // namespace
}  // namespace luo
