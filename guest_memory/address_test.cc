#include "guest_memory/address.h"

#include <gtest/gtest.h>

namespace vmm {
namespace {

TEST(GuestAddressTest, AddsUpToTheLastByte) {
  EXPECT_EQ(GuestAddress(0x1000).CheckedAdd(0x234), GuestAddress(0x1234));
  EXPECT_EQ(GuestAddress(UINT64_MAX - 1).CheckedAdd(1), GuestAddress(UINT64_MAX));
  EXPECT_EQ(GuestAddress(UINT64_MAX).CheckedAdd(0), GuestAddress(UINT64_MAX));
}

TEST(GuestAddressTest, RefusesToWrap) {
  EXPECT_EQ(GuestAddress(UINT64_MAX).CheckedAdd(1), std::nullopt);
  EXPECT_EQ(GuestAddress(1).CheckedAdd(UINT64_MAX), std::nullopt);
}

TEST(GuestAddressTest, Orders) {
  EXPECT_LT(GuestAddress(1), GuestAddress(2));
  EXPECT_EQ(GuestAddress(), GuestAddress(0));
}

TEST(GuestRangeTest, ContainsItsBytesOnly) {
  constexpr GuestRange kRange = {GuestAddress(0x1000), 0x1000};
  EXPECT_FALSE(kRange.Contains(GuestAddress(0xfff)));
  EXPECT_TRUE(kRange.Contains(GuestAddress(0x1000)));
  EXPECT_TRUE(kRange.Contains(GuestAddress(0x1fff)));
  EXPECT_FALSE(kRange.Contains(GuestAddress(0x2000)));
}

TEST(GuestRangeTest, WorksAtTheEndsOfTheAddressSpace) {
  constexpr GuestRange kTop = {GuestAddress(UINT64_MAX - 0xfff), 0x1000};
  EXPECT_TRUE(kTop.Contains(GuestAddress(UINT64_MAX)));
  EXPECT_FALSE(kTop.Contains(GuestAddress(0)));
  constexpr GuestRange kEmpty = {GuestAddress(0), 0};
  EXPECT_FALSE(kEmpty.Contains(GuestAddress(0)));
}

}  // namespace
}  // namespace vmm
