#include "luo_kernel/abi/kho_v4.h"

#include <gtest/gtest.h>

namespace luo::abi {
namespace {

TEST(RadixKeyTest, IsTheOneOfLinuxsDescription) {
  // include/linux/kho/abi/kexec_handover.h, the table of order bits.
  EXPECT_EQ(EncodeRadixKey(0, 0), uint64_t{1} << 52);
  EXPECT_EQ(EncodeRadixKey(0, 1), uint64_t{1} << 51);
  EXPECT_EQ(EncodeRadixKey(0, 2), uint64_t{1} << 50);
  // KHO.md's examples.
  EXPECT_EQ(EncodeRadixKey(0x1000, 0), 0x10000000000001u);
  EXPECT_EQ(EncodeRadixKey(0x200000, 9), 0x80000000001u);
  EXPECT_EQ(EncodeRadixKey(0x40000000, 18), 0x400000001u);
}

TEST(RadixKeyTest, ComesBackForEveryOrderAtBothEndsOfMemory) {
  for (unsigned order = 0; order <= kMaxRadixOrder; ++order) {
    const uint64_t size = kPageSize << order;
    for (uint64_t address : {uint64_t{0}, size, uint64_t{0} - size}) {
      EXPECT_EQ(DecodeRadixKey(EncodeRadixKey(address, order)), (RadixEntry{address, order}))
          << order;
    }
  }
}

TEST(RadixKeyTest, NumbersThatAreNoKeysAreTold) {
  EXPECT_EQ(DecodeRadixKey(0), std::nullopt);
  EXPECT_EQ(DecodeRadixKey(1), std::nullopt);
  EXPECT_EQ(DecodeRadixKey(uint64_t{1} << 53), std::nullopt);
  EXPECT_EQ(DecodeRadixKey(~uint64_t{0}), std::nullopt);
  EXPECT_EQ(DecodeRadixKey(2), (RadixEntry{0, 51}));
  EXPECT_EQ(DecodeRadixKey((uint64_t{1} << 53) - 1), (RadixEntry{~uint64_t{0xfff}, 0}));
}

TEST(RadixKeyTest, ItsPathIsMadeOfAllItsBits) {
  const uint64_t key = EncodeRadixKey(0x123456789a000, 0);
  uint64_t again = RadixBitmapIndex(key);
  for (unsigned level = 1; level < kRadixDepth; ++level) {
    again |= uint64_t{RadixTableIndex(key, level)} << (15 + 9 * (level - 1));
  }
  EXPECT_EQ(again, key);
}

}  // namespace
}  // namespace luo::abi
