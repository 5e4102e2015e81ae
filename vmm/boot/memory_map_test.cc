#include "vmm/boot/memory_map.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/boot/platform.h"

namespace vmm {
namespace {

using ::testing::ElementsAre;

absl::StatusOr<GuestMemory> Ram(uint64_t size) {
  return GuestMemory::Create({.size = size, .huge_pages = HugePages::kOff});
}

const MemoryMapEntry kBelowEbda{{GuestAddress(0), 0x9fc00}, MemoryType::kRam};
const MemoryMapEntry kIsaHole{{GuestAddress(0x9fc00), 0x60400}, MemoryType::kReserved};
const MemoryMapEntry kKvmPages{{GuestAddress(0xfeffc000), 0x4000}, MemoryType::kReserved};

TEST(MemoryMapTest, SmallGuest) {
  auto memory = Ram(64 << 20);
  ASSERT_TRUE(memory.ok()) << memory.status();
  auto map = BuildMemoryMap(*memory);
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_THAT(*map, ElementsAre(kBelowEbda, kIsaHole,
                                MemoryMapEntry{{GuestAddress(1 << 20), 63 << 20}, MemoryType::kRam},
                                kKvmPages));
  EXPECT_EQ(LowMemoryEnd(*memory), GuestAddress(64 << 20));
}

TEST(MemoryMapTest, GuestBeyondThePciHole) {
  auto memory = Ram(uint64_t{4} << 30);
  ASSERT_TRUE(memory.ok()) << memory.status();
  auto map = BuildMemoryMap(*memory);
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_THAT(
      *map,
      ElementsAre(kBelowEbda, kIsaHole,
                  MemoryMapEntry{{GuestAddress(1 << 20), 0xbff00000}, MemoryType::kRam}, kKvmPages,
                  MemoryMapEntry{{GuestAddress(0x100000000), 0x40000000}, MemoryType::kRam}));
  EXPECT_EQ(LowMemoryEnd(*memory), GuestAddress(kPciHoleStart));
}

TEST(MemoryMapTest, TooLittleRam) {
  auto memory = Ram(1 << 20);
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(BuildMemoryMap(*memory).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(MemoryMapTest, RamThatDoesNotBeginAtZero) {
  auto region = MemfdRegion::Create({GuestAddress(2 << 20), 16 << 20}, HugePages::kOff);
  ASSERT_TRUE(region.ok()) << region.status();
  std::vector<MemfdRegion> regions;
  regions.push_back(*std::move(region));
  auto memory = GuestMemory::FromRegions(std::move(regions));
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(LowMemoryEnd(*memory), GuestAddress(0));
  EXPECT_EQ(BuildMemoryMap(*memory).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(MemoryMapTest, TooManyPiecesToTell) {
  std::vector<MemfdRegion> regions;
  for (uint64_t i = 0; i < kMaxMemoryMapEntries; ++i) {
    auto region = MemfdRegion::Create({GuestAddress(i << 22), 2 << 20}, HugePages::kOff);
    ASSERT_TRUE(region.ok()) << region.status();
    regions.push_back(*std::move(region));
  }
  auto memory = GuestMemory::FromRegions(std::move(regions));
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(BuildMemoryMap(*memory).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace vmm
