#include "luo_kernel/inspect/physical_reader.h"

#include <algorithm>

#include "luo_kernel/abi/kho_v4.h"

namespace luo {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
constexpr uint64_t kChunk = uint64_t{1} << 20;  // what is read at once

}  // namespace

void PhysicalReader::ForEachPage(
    absl::FunctionRef<void(uint64_t address, absl::Span<const uint8_t> page)> visit) const {
  std::vector<uint8_t> chunk(kChunk);
  for (const MemoryRange& range : ranges()) {
    // In the last page of all the next page's address would be 0.
    const uint64_t before_page = (kPage - range.address % kPage) % kPage;
    if (before_page >= range.size) continue;
    uint64_t left = (range.size - before_page) / kPage * kPage;
    uint64_t address = range.address + before_page;
    while (left > 0) {
      const uint64_t size = std::min(kChunk, left);
      // What cannot be read holds nothing that could be looked at.
      if (Read(address, absl::MakeSpan(chunk).first(size)).ok()) {
        for (uint64_t offset = 0; offset < size; offset += kPage) {
          visit(address + offset, absl::MakeConstSpan(chunk).subspan(offset, kPage));
        }
      }
      address += size;
      left -= size;
    }
  }
}

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
