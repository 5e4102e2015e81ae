#include "luo_kernel/inspect/physical_reader.h"

#include <algorithm>

#include "luo_kernel/abi/kho_v4.h"

namespace luo {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
constexpr uint64_t kChunk = uint64_t{1} << 20;  // what is read at once, aligned
// In a row: after 256 MiB, read down to single pages, whole chunks are tried until one can be read.
constexpr uint64_t kMaxFailures = 1 << 16;

}  // namespace

void PhysicalReader::ForEachPage(
    absl::FunctionRef<void(uint64_t address, absl::Span<const uint8_t> page)> visit) const {
  std::vector<uint8_t> chunk(kChunk);
  uint64_t most = kChunk;  // to read next
  uint64_t failures = 0;   // in a row
  for (const MemoryRange& range : ranges()) {
    // In the last page of all the next page's address would be 0.
    const uint64_t before_page = (kPage - range.address % kPage) % kPage;
    if (before_page >= range.size) continue;
    uint64_t left = (range.size - before_page) / kPage * kPage;
    uint64_t address = range.address + before_page;
    const auto pass = [&](uint64_t size) {
      address += size;
      left -= size;
    };
    while (left > 0) {
      const uint64_t next = NextReadable(address);
      if (next - address >= kPage) {
        pass(std::min((next - address) / kPage * kPage, left));
        continue;
      }
      const uint64_t size = std::min({most, left, kChunk - address % kChunk});
      if (Read(address, absl::MakeSpan(chunk).first(size)).ok()) {
        for (uint64_t offset = 0; offset < size; offset += kPage) {
          visit(address + offset, absl::MakeConstSpan(chunk).subspan(offset, kPage));
        }
        failures = 0;
        most = std::min(2 * most, kChunk);
        pass(size);
      } else if (++failures > kMaxFailures) {
        most = kChunk;
        pass(size);
      } else if (size > kPage) {
        most = std::max(size / 2 / kPage * kPage, kPage);
      } else {
        pass(size);
      }
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
