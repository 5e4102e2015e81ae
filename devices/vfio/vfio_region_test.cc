#include "devices/vfio/vfio_region.h"

#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <utility>

#include "gtest/gtest.h"

namespace vmm {
namespace {

constexpr uint64_t kOffset = 0x3000;
constexpr uint64_t kSize = 0x2000;

// A memfd in the place of a device's file: a region is nothing but a part of it.
class VfioRegionTest : public testing::Test {
 protected:
  VfioRegionTest() : file_(std::make_shared<const UniqueFd>(memfd_create("region", MFD_CLOEXEC))) {
    EXPECT_EQ(ftruncate(file_->get(), kOffset + kSize + 0x1000), 0);
  }
  VfioRegion Region(RegionInfo info = {.index = 1,
                                       .size = kSize,
                                       .offset = kOffset,
                                       .readable = true,
                                       .writable = true,
                                       .mappable = true}) {
    return VfioRegion(file_, std::move(info));
  }

  std::shared_ptr<const UniqueFd> file_;
};

TEST_F(VfioRegionTest, ReadsAndWritesAtTheRegionsOffset) {
  VfioRegion region = Region();
  ASSERT_EQ(region.Write<uint32_t>(8, 0x12345678), absl::OkStatus());
  EXPECT_EQ(*region.Read<uint32_t>(8), 0x12345678u);
  EXPECT_EQ(*region.Read<uint16_t>(10), 0x1234u);
  EXPECT_EQ(*region.Read<uint8_t>(8), 0x78u);
  uint32_t raw = 0;
  ASSERT_EQ(pread(file_->get(), &raw, sizeof(raw), kOffset + 8), 4);
  EXPECT_EQ(raw, 0x12345678u);
}

TEST_F(VfioRegionTest, NeverLeavesTheRegion) {
  VfioRegion region = Region();
  EXPECT_TRUE(region.Read<uint64_t>(kSize - 8).ok());
  for (const uint64_t offset : {kSize, kSize - 4, UINT64_MAX - 7, UINT64_MAX}) {
    EXPECT_EQ(region.Read<uint64_t>(offset).status().code(), absl::StatusCode::kOutOfRange);
    EXPECT_EQ(region.Write<uint64_t>(offset, 1).code(), absl::StatusCode::kOutOfRange);
  }
}

TEST_F(VfioRegionTest, RefusesUnalignedAccesses) {
  VfioRegion region = Region();
  EXPECT_EQ(region.Read<uint16_t>(1).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(region.Write<uint32_t>(2, 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(region.Read<uint64_t>(4).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(VfioRegionTest, MapsTheSameBytes) {
  VfioRegion region = Region();
  absl::StatusOr<MappedRegion> mapped = region.Map(0x1000, 0x1000);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  ASSERT_EQ(mapped->Write<uint32_t>(4, 77), absl::OkStatus());
  EXPECT_EQ(*region.Read<uint32_t>(0x1004), 77u);
  EXPECT_EQ(*mapped->Read<uint32_t>(4), 77u);
}

TEST_F(VfioRegionTest, NeverLeavesTheMapping) {
  absl::StatusOr<MappedRegion> mapped = Region().Map(0, 0x1000);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  EXPECT_EQ(mapped->Read<uint8_t>(0x1000).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(mapped->Write<uint32_t>(UINT64_MAX - 3, 0).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(mapped->Read<uint32_t>(2).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(VfioRegionTest, AMovedMappingHasNothing) {
  absl::StatusOr<MappedRegion> mapped = Region().Map(0, 0x1000);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  const MappedRegion taken = *std::move(mapped);
  EXPECT_TRUE(taken.Read<uint32_t>(0).ok());
  EXPECT_EQ(mapped->Read<uint32_t>(0).status().code(), absl::StatusCode::kOutOfRange);
}

TEST_F(VfioRegionTest, MapsOnlyWhatTheDeviceAllows) {
  EXPECT_EQ(
      Region({.size = kSize, .offset = kOffset, .readable = true}).Map(0, 0x1000).status().code(),
      absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Region().Map(0x1000, 0x2000).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(Region().Map(0, 0x800).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Region().Map(0x10, 0x1000).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(VfioRegionTest, KeepsTheDeviceOpen) {
  std::weak_ptr<const UniqueFd> watch = file_;
  absl::StatusOr<MappedRegion> mapped = Region().Map(0, 0x1000);
  ASSERT_TRUE(mapped.ok()) << mapped.status();
  file_.reset();
  EXPECT_FALSE(watch.expired());
}

}  // namespace
}  // namespace vmm
