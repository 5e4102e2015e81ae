#include "devices/vfio/region_info.h"

#include <linux/vfio.h>
#include <stddef.h>
#include <string.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace vmm {
namespace {

static_assert(sizeof(vfio_region_info) == 32 && offsetof(vfio_region_info, size) == 16 &&
              offsetof(vfio_region_info, offset) == 24);
static_assert(sizeof(vfio_info_cap_header) == 8);
static_assert(offsetof(vfio_region_info_cap_sparse_mmap, areas) == 16);
static_assert(sizeof(vfio_region_sparse_mmap_area) == 16);

// Both far above what a kernel gives.
constexpr int kMaxCapabilities = 64;
constexpr uint32_t kMaxAreas = 1024;

absl::Status Malformed(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("the kernel's description of a region: ", what));
}

// A T at `offset` of `bytes`; false where it is not all inside.
template <typename T>
bool ReadAt(absl::Span<const uint8_t> bytes, size_t offset, T* value) {
  if (offset > bytes.size() || sizeof(T) > bytes.size() - offset) return false;
  memcpy(value, bytes.data() + offset, sizeof(T));
  return true;
}

absl::Status DecodeSparseMmap(absl::Span<const uint8_t> answer, size_t at, RegionInfo& info) {
  // Not the structure itself, whose last member is a flexible array.
  uint32_t count;
  if (!ReadAt(answer, at + offsetof(vfio_region_info_cap_sparse_mmap, nr_areas), &count)) {
    return Malformed("a capability is cut off");
  }
  if (count > kMaxAreas) return Malformed("too many mappable areas");
  for (uint32_t i = 0; i < count; ++i) {
    vfio_region_sparse_mmap_area area;
    if (!ReadAt(answer, at + offsetof(vfio_region_info_cap_sparse_mmap, areas) + i * sizeof(area),
                &area)) {
      return Malformed("a list of mappable areas is cut off");
    }
    if (area.size > info.size || area.offset > info.size - area.size) {
      return Malformed("a mappable area leaves the region");
    }
    info.mappable_areas.push_back({.offset = area.offset, .length = area.size});
  }
  // A list of no areas means that nothing can be mapped, which an empty one would not say.
  if (count == 0) info.mappable = false;
  return absl::OkStatus();
}

}  // namespace

bool RegionInfo::MayMap(uint64_t offset, uint64_t length) const {
  if (!mappable || length == 0 || length > size || offset > size - length) return false;
  if (mappable_areas.empty()) return true;
  for (const Area& area : mappable_areas) {
    if (offset >= area.offset && length <= area.length &&
        offset - area.offset <= area.length - length) {
      return true;
    }
  }
  return false;
}

absl::StatusOr<RegionInfo> DecodeRegionInfo(absl::Span<const uint8_t> answer) {
  vfio_region_info raw;
  if (!ReadAt(answer, 0, &raw)) return Malformed("shorter than its fixed part");
  if (raw.size > INT64_MAX || raw.offset > INT64_MAX - raw.size) {
    return Malformed("it ends past what a file can have");
  }
  RegionInfo info = {
      .index = raw.index,
      .size = raw.size,
      .offset = raw.offset,
      .readable = (raw.flags & VFIO_REGION_INFO_FLAG_READ) != 0,
      .writable = (raw.flags & VFIO_REGION_INFO_FLAG_WRITE) != 0,
      .mappable = (raw.flags & VFIO_REGION_INFO_FLAG_MMAP) != 0,
  };
  if ((raw.flags & VFIO_REGION_INFO_FLAG_CAPS) == 0) return info;
  size_t at = raw.cap_offset;
  for (int count = 0; at != 0; ++count) {
    vfio_info_cap_header header;
    if (count == kMaxCapabilities) return Malformed("its capabilities have no end");
    if (at < sizeof(raw) || !ReadAt(answer, at, &header)) {
      return Malformed("a capability lies outside");
    }
    if (header.id == VFIO_REGION_INFO_CAP_SPARSE_MMAP && header.version == 1) {
      absl::Status status = DecodeSparseMmap(answer, at, info);
      if (!status.ok()) return status;
      if (info.mappable_areas.size() > kMaxAreas) return Malformed("too many mappable areas");
    }
    at = header.next;
  }
  return info;
}

}  // namespace vmm
