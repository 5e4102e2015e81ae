#include "luo_kernel/inspect/physical_reader.h"

#include <algorithm>

namespace luo {

bool PhysicalReader::Has(uint64_t address, uint64_t size) const {
  const std::vector<MemoryRange>& all = ranges();
  auto next = std::upper_bound(
      all.begin(), all.end(), address,
      [](uint64_t wanted, const MemoryRange& range) { return wanted < range.address; });
  if (next == all.begin()) return false;
  const MemoryRange& range = *--next;
  const uint64_t offset = address - range.address;
  return offset <= range.size && size <= range.size - offset;
}

}  // namespace luo
