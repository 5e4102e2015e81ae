#include "devices/vfio/region_info.h"

#include <linux/vfio.h>
#include <string.h>

#include <vector>

#include "gtest/gtest.h"

namespace vmm {
namespace {

constexpr uint32_t kAll =
    VFIO_REGION_INFO_FLAG_READ | VFIO_REGION_INFO_FLAG_WRITE | VFIO_REGION_INFO_FLAG_MMAP;

// An answer of the kernel: the fixed part, and what is appended.
class Answer {
 public:
  Answer(uint32_t flags, uint64_t size) {
    fixed_.flags = flags;
    fixed_.size = size;
    fixed_.index = 2;
    fixed_.offset = uint64_t{2} << 40;
    bytes_.resize(sizeof(fixed_));
  }
  // A list of mappable areas, each {offset, size}, as the last capability so far.
  Answer& Sparse(const std::vector<vfio_region_sparse_mmap_area>& areas, uint32_t next = 0) {
    fixed_.flags |= VFIO_REGION_INFO_FLAG_CAPS;
    if (fixed_.cap_offset == 0) fixed_.cap_offset = bytes_.size();
    Append(uint16_t{VFIO_REGION_INFO_CAP_SPARSE_MMAP});
    Append(uint16_t{1});
    Append(next);
    Append(static_cast<uint32_t>(areas.size()));
    Append(uint32_t{0});
    for (const auto& area : areas) Append(area);
    return *this;
  }
  Answer& CapOffset(uint32_t offset) {
    fixed_.flags |= VFIO_REGION_INFO_FLAG_CAPS;
    fixed_.cap_offset = offset;
    return *this;
  }
  Answer& Offset(uint64_t offset) {
    fixed_.offset = offset;
    return *this;
  }
  std::vector<uint8_t> Bytes() {
    memcpy(bytes_.data(), &fixed_, sizeof(fixed_));
    return bytes_;
  }

 private:
  template <typename T>
  void Append(const T& value) {
    const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
    bytes_.insert(bytes_.end(), bytes, bytes + sizeof(value));
  }

  vfio_region_info fixed_ = {};
  std::vector<uint8_t> bytes_;
};

TEST(RegionInfoTest, ReadsTheFixedPart) {
  const auto info = DecodeRegionInfo(Answer(VFIO_REGION_INFO_FLAG_READ, 0x2000).Bytes());
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_EQ(info->index, 2u);
  EXPECT_EQ(info->size, 0x2000u);
  EXPECT_EQ(info->offset, uint64_t{2} << 40);
  EXPECT_TRUE(info->readable);
  EXPECT_FALSE(info->writable);
  EXPECT_FALSE(info->MayMap(0, 4096));
}

TEST(RegionInfoTest, MapsAnyPartOfARegionWithoutAreas) {
  const auto info = DecodeRegionInfo(Answer(kAll, 0x2000).Bytes());
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_TRUE(info->MayMap(0, 0x2000));
  EXPECT_TRUE(info->MayMap(0x1000, 0x1000));
  EXPECT_FALSE(info->MayMap(0, 0));
  EXPECT_FALSE(info->MayMap(0x1000, 0x1001));
  EXPECT_FALSE(info->MayMap(UINT64_MAX, 2));
  EXPECT_FALSE(info->MayMap(2, UINT64_MAX));
}

TEST(RegionInfoTest, MapsOnlyWithinOneArea) {
  const auto info =
      DecodeRegionInfo(Answer(kAll, 0x10000).Sparse({{0, 0x1000}, {0x3000, 0x2000}}).Bytes());
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_TRUE(info->MayMap(0, 0x1000));
  EXPECT_TRUE(info->MayMap(0x4000, 0x1000));
  EXPECT_FALSE(info->MayMap(0, 0x2000));
  EXPECT_FALSE(info->MayMap(0x1000, 0x1000));
  EXPECT_FALSE(info->MayMap(0x4000, 0x2000));
}

TEST(RegionInfoTest, AnEmptyListOfAreasForbidsMapping) {
  const auto info = DecodeRegionInfo(Answer(kAll, 0x10000).Sparse({}).Bytes());
  ASSERT_TRUE(info.ok()) << info.status();
  EXPECT_FALSE(info->MayMap(0, 0x1000));
}

TEST(RegionInfoTest, RefusesWhatIsCutOffAtEveryByte) {
  const std::vector<uint8_t> whole = Answer(kAll, 0x10000).Sparse({{0, 0x1000}}).Bytes();
  EXPECT_TRUE(DecodeRegionInfo(whole).ok());
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(DecodeRegionInfo(absl::MakeConstSpan(whole.data(), size)).ok()) << size;
  }
}

TEST(RegionInfoTest, RefusesACapabilityInTheFixedPartOrOutside) {
  for (const uint32_t offset : {4u, 31u, 1000u, UINT32_MAX}) {
    EXPECT_FALSE(DecodeRegionInfo(Answer(kAll, 0x1000).CapOffset(offset).Bytes()).ok()) << offset;
  }
}

TEST(RegionInfoTest, RefusesAChainWithoutEnd) {
  // Its only capability names itself as the next one.
  EXPECT_FALSE(DecodeRegionInfo(
                   Answer(kAll, 0x10000).Sparse({{0, 0x1000}}, sizeof(vfio_region_info)).Bytes())
                   .ok());
}

TEST(RegionInfoTest, RefusesAnAreaThatLeavesTheRegion) {
  for (const vfio_region_sparse_mmap_area area :
       {vfio_region_sparse_mmap_area{0x1000, 0x1000}, {0, 0x1001}, {UINT64_MAX, 2}}) {
    EXPECT_FALSE(DecodeRegionInfo(Answer(kAll, 0x1000).Sparse({area}).Bytes()).ok());
  }
}

TEST(RegionInfoTest, RefusesARegionThatNoFileCanHave) {
  EXPECT_FALSE(DecodeRegionInfo(Answer(kAll, UINT64_MAX).Bytes()).ok());
  EXPECT_FALSE(DecodeRegionInfo(Answer(kAll, 4096).Offset(INT64_MAX).Bytes()).ok());
}

}  // namespace
}  // namespace vmm
