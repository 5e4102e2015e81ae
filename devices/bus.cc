#include "devices/bus.h"

#include <algorithm>
#include <iterator>

#include "absl/strings/str_format.h"

namespace vmm {
namespace {

bool IsAccessSize(size_t size) { return size == 1 || size == 2 || size == 4 || size == 8; }

}  // namespace

absl::Status Bus::Insert(uint64_t start, uint64_t size, BusDevice* device) {
  // The last address rather than the end: a range may end with the address space.
  const uint64_t last = start + size - 1;
  if (size == 0 || last < start) {
    return absl::InvalidArgumentError(
        absl::StrFormat("bus range of %#x bytes at %#x is empty or wraps", size, start));
  }
  auto next = entries_.lower_bound(start);
  bool overlaps = next != entries_.end() && next->first <= last;
  if (next != entries_.begin()) {
    const auto& [previous_start, previous] = *std::prev(next);
    overlaps |= start - previous_start < previous.size;
  }
  if (overlaps) {
    return absl::AlreadyExistsError(
        absl::StrFormat("bus range %#x..%#x overlaps another device", start, last));
  }
  entries_.emplace_hint(next, start, Entry{size, device});
  return absl::OkStatus();
}

const Bus::Entry* Bus::Find(uint64_t address, uint64_t length, uint64_t* offset) const {
  auto after = entries_.upper_bound(address);
  if (after == entries_.begin()) return nullptr;
  const auto& [start, entry] = *std::prev(after);
  *offset = address - start;
  if (*offset >= entry.size || length > entry.size - *offset) return nullptr;
  return &entry;
}

bool Bus::Read(uint64_t address, absl::Span<uint8_t> data) const {
  uint64_t offset;
  const Entry* entry = IsAccessSize(data.size()) ? Find(address, data.size(), &offset) : nullptr;
  if (entry == nullptr) {
    std::fill(data.begin(), data.end(), 0xff);
    return false;
  }
  entry->device->Read(offset, data);
  return true;
}

bool Bus::Write(uint64_t address, absl::Span<const uint8_t> data) const {
  uint64_t offset;
  const Entry* entry = IsAccessSize(data.size()) ? Find(address, data.size(), &offset) : nullptr;
  if (entry == nullptr) return false;
  entry->device->Write(offset, data);
  return true;
}

}  // namespace vmm
