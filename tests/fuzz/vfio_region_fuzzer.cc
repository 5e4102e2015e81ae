// Descriptions of regions from anywhere: whatever may be mapped lies within the region.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "devices/vfio/region_info.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<vmm::RegionInfo> info =
      vmm::DecodeRegionInfo(absl::MakeConstSpan(data, size));
  if (!info.ok()) return 0;
  if (info->size == 0 && info->MayMap(0, 1)) abort();
  if (info->MayMap(info->size, 1) || info->MayMap(UINT64_MAX, 2)) abort();
  for (const vmm::RegionInfo::Area& area : info->mappable_areas) {
    if (area.length > info->size || area.offset > info->size - area.length) abort();
    if (info->mappable && area.length != 0 && !info->MayMap(area.offset, area.length)) abort();
  }
  return 0;
}
