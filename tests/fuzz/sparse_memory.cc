#include "tests/fuzz/sparse_memory.h"

#include <string.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <optional>
#include <utility>

namespace luo {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
constexpr char kMagic[] = {'L', 'U', 'O', 'M', 'E', 'M', '1', '\n'};
// Fewer zeros than a piece's own header takes are not worth another piece.
constexpr size_t kGap = sizeof(uint64_t) + sizeof(uint16_t);

template <typename T>
std::optional<T> Take(absl::Span<const uint8_t>& input) {
  if (input.size() < sizeof(T)) return std::nullopt;
  T value;
  memcpy(&value, input.data(), sizeof(T));
  input.remove_prefix(sizeof(T));
  return value;
}

template <typename T>
void Put(std::vector<uint8_t>& out, const T& value) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  out.insert(out.end(), bytes, bytes + sizeof(T));
}

}  // namespace

absl::StatusOr<SparseMemory> SparseMemory::Parse(absl::Span<const uint8_t> input) {
  const auto magic = Take<std::array<char, sizeof(kMagic)>>(input);
  const auto begin = Take<Begin>(input);
  const auto range_count = Take<uint64_t>(input);
  if (!magic.has_value() || memcmp(magic->data(), kMagic, sizeof(kMagic)) != 0 ||
      !range_count.has_value() || *range_count > kMaxRanges) {
    return absl::InvalidArgumentError("no sparse memory");
  }
  SparseMemory memory;
  memory.begin_ = *begin;
  uint64_t end = 0;
  uint64_t left = kMaxBytes;
  for (uint64_t i = 0; i < *range_count; ++i) {
    const auto range = Take<MemoryRange>(input);
    if (!range.has_value() || range->address < end || range->size == 0 || range->size > left ||
        range->address > kBootRange.start.value() - range->size) {
      return absl::InvalidArgumentError("ranges that cannot be");
    }
    memory.ranges_.push_back(*range);
    end = range->address + range->size;
    left -= range->size;
  }
  memory.ranges_.push_back({kBootRange.start.value(), kBootRange.size});

  std::map<uint64_t, std::vector<std::byte>> pages;
  while (true) {
    const auto address = Take<uint64_t>(input);
    const auto size = Take<uint16_t>(input);
    if (!size.has_value() || *size > input.size()) break;
    const uint64_t page = *address & -kPage;
    const uint64_t offset = *address % kPage;
    if (*size <= kPage - offset && page < kBootRange.start.value() && memory.Has(page, kPage)) {
      if (pages.size() == kMaxPages && !pages.contains(page)) {
        return absl::InvalidArgumentError("too many pages");
      }
      std::vector<std::byte>& bytes = pages[page];
      bytes.resize(kPage);
      if (*size > 0) memcpy(bytes.data() + offset, input.data(), *size);
    }
    input.remove_prefix(*size);
  }
  for (const auto& [address, bytes] : pages) {
    if (!memory.runs_.empty()) {
      auto& [last, run] = *memory.runs_.rbegin();
      if (last + run.size() == address) {
        run.insert(run.end(), bytes.begin(), bytes.end());
        continue;
      }
    }
    memory.runs_.emplace(address, bytes);
  }
  memory.runs_.emplace(kBootRange.start.value(), std::vector<std::byte>(kBootRange.size));
  return memory;
}

std::vector<uint8_t> SparseMemory::Format(const Begin& begin,
                                          const std::vector<MemoryRange>& ranges,
                                          const std::map<uint64_t, std::vector<uint8_t>>& pages) {
  std::vector<uint8_t> out(kMagic, kMagic + sizeof(kMagic));
  Put(out, begin);
  Put(out, uint64_t{ranges.size()});
  for (const MemoryRange& range : ranges) Put(out, range);
  const auto put_piece = [&out](uint64_t address, const uint8_t* bytes, size_t size) {
    Put(out, address);
    Put(out, static_cast<uint16_t>(size));
    out.insert(out.end(), bytes, bytes + size);
  };
  for (const auto& [address, page] : pages) {
    size_t pieces = 0;
    for (size_t at = 0; at < page.size();) {
      if (page[at] == 0) {
        ++at;
        continue;
      }
      // Up to the last byte that no long run of zeros follows.
      size_t last = at;
      for (size_t i = at; i < page.size() && i <= last + kGap; ++i) {
        if (page[i] != 0) last = i;
      }
      put_piece(address + at, page.data() + at, last + 1 - at);
      at = last + 1;
      ++pieces;
    }
    if (pieces == 0) put_piece(address, nullptr, 0);
  }
  return out;
}

absl::StatusOr<absl::Span<const std::byte>> SparseMemory::Read(PhysicalAddress address,
                                                               uint64_t size) const {
  auto run = runs_.upper_bound(address.value());
  if (run != runs_.begin()) {
    --run;
    const uint64_t offset = address.value() - run->first;
    if (offset <= run->second.size() && size <= run->second.size() - offset) {
      return absl::MakeConstSpan(run->second).subspan(offset, size);
    }
  }
  if (Has(address.value(), size)) return absl::PermissionDeniedError("not in the input");
  return absl::OutOfRangeError("no memory there");
}

absl::StatusOr<absl::Span<std::byte>> SparseMemory::Write(PhysicalAddress address, uint64_t size) {
  const auto bytes = static_cast<const SparseMemory*>(this)->Read(address, size);
  if (!bytes.ok()) return bytes.status();
  return absl::MakeSpan(const_cast<std::byte*>(bytes->data()), bytes->size());
}

bool SparseMemory::Contains(PhysicalAddress address, uint64_t size) const {
  return Has(address.value(), size);
}

uint64_t SparseMemory::size() const {
  uint64_t bytes = 0;
  for (const MemoryRange& range : ranges_) bytes += range.size;
  return bytes;
}

absl::Status SparseMemory::Read(uint64_t address, absl::Span<uint8_t> out) const {
  const auto bytes = Read(PhysicalAddress(address), out.size());
  if (!bytes.ok()) return bytes.status();
  if (!out.empty()) memcpy(out.data(), bytes->data(), out.size());
  return absl::OkStatus();
}

uint64_t SparseMemory::NextReadable(uint64_t address) const {
  const auto next = runs_.upper_bound(address);
  if (next != runs_.begin()) {
    const auto& [start, bytes] = *std::prev(next);
    if (address - start < bytes.size()) return address;
  }
  return next != runs_.end() ? next->first : UINT64_MAX;
}

}  // namespace luo
