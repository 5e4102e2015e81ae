#include "vmm/boot/memory_map.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "vmm/boot/platform.h"

namespace vmm {
namespace {

constexpr uint64_t kMinLowMemory = 2 << 20;

}  // namespace

GuestAddress LowMemoryEnd(const GuestMemory& memory) {
  if (memory.regions().empty()) return GuestAddress(0);
  const GuestRange range = memory.regions().front().range();
  if (range.start != GuestAddress(0)) return GuestAddress(0);
  return GuestAddress(std::min(range.size, kPciHoleStart));
}

absl::StatusOr<std::vector<MemoryMapEntry>> BuildMemoryMap(const GuestMemory& memory) {
  const uint64_t low_end = LowMemoryEnd(memory).value();
  if (low_end < kMinLowMemory) {
    return absl::InvalidArgumentError(
        "guest memory too small: needs at least 2 MiB from address 0 on");
  }
  const uint64_t high_start = kHighRamStart.value();
  std::vector<MemoryMapEntry> map = {
      {{GuestAddress(0), kLowRamEnd.value()}, MemoryType::kRam},
      {{kLowRamEnd, high_start - kLowRamEnd.value()}, MemoryType::kReserved},
      {{kHighRamStart, low_end - high_start}, MemoryType::kRam},
      {kKvmReserved, MemoryType::kReserved},
  };
  for (size_t i = 1; i < memory.regions().size(); ++i) {
    map.push_back({memory.regions()[i].range(), MemoryType::kRam});
  }
  if (map.size() > kMaxMemoryMapEntries) {
    return absl::InvalidArgumentError(
        absl::StrCat("guest memory in ", memory.regions().size(), " pieces: too many to tell"));
  }
  return map;
}

}  // namespace vmm
