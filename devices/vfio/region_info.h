// RegionInfo: what VFIO_DEVICE_GET_REGION_INFO answers, decoded; for the sources of this folder.
//
//   ASSIGN_OR_RETURN(RegionInfo info, DecodeRegionInfo(answer));
//   info.MayMap(offset, length);
//
// Source: Linux 7.3, include/uapi/linux/vfio.h, struct vfio_region_info and the capabilities after
// it. Nothing outside the answer is ever read; a chain of capabilities that loops or leaves it is
// refused.
#ifndef DEVICES_VFIO_REGION_INFO_H_
#define DEVICES_VFIO_REGION_INFO_H_

#include <stdint.h>

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace vmm {

struct RegionInfo {
  // `length` bytes from `offset` of the region on.
  struct Area {
    uint64_t offset = 0;
    uint64_t length = 0;
  };

  // Whether these bytes can be mapped: they lie within the region and, where it names its mappable
  // areas, within one of them.
  bool MayMap(uint64_t offset, uint64_t length) const;

  uint32_t index = 0;
  uint64_t size = 0;    // bytes; 0 for a region that the device does not have
  uint64_t offset = 0;  // of the region in the device's file
  bool readable = false;
  bool writable = false;
  bool mappable = false;
  std::vector<Area> mappable_areas;  // empty: all of it
};

absl::StatusOr<RegionInfo> DecodeRegionInfo(absl::Span<const uint8_t> answer);

}  // namespace vmm

#endif  // DEVICES_VFIO_REGION_INFO_H_
