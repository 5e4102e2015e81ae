#include "luo_kernel/kho/arena.h"

#include <string.h>

#include <algorithm>
#include <bit>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace luo {

absl::StatusOr<Arena> Arena::Create(WritablePhysicalMemory* memory, PhysicalRange range) {
  if (!range.start.IsPageAligned() || range.size % abi::kPageSize != 0 || range.size == 0 ||
      range.wraps()) {
    return absl::InvalidArgumentError("an arena is made of whole pages, at least one");
  }
  RETURN_IF_ERROR(memory->Write(range.start, range.size).status());
  Arena arena(memory, range);
  const uint64_t begin = range.start.frame();
  // In every structure of KHO the address 0 means "nothing".
  arena.ReleaseRange(std::max<uint64_t>(begin, 1), begin + (range.size >> abi::kPageShift));
  return arena;
}

void Arena::Release(uint64_t frame, unsigned order) {
  free_pages_ += uint64_t{1} << order;
  while (order < kMaxOrder) {
    const auto buddy = free_[order].find(frame ^ (uint64_t{1} << order));
    if (buddy == free_[order].end()) break;
    frame = std::min(frame, *buddy);
    free_[order].erase(buddy);
    ++order;
  }
  free_[order].insert(frame);
}

void Arena::ReleaseRange(uint64_t begin, uint64_t end) {
  while (begin < end) {
    const unsigned order =
        std::min({static_cast<unsigned>(std::countr_zero(begin)),
                  static_cast<unsigned>(std::bit_width(end - begin)) - 1, kMaxOrder});
    Release(begin, order);
    begin += uint64_t{1} << order;
  }
}

bool Arena::FreeBlockOf(uint64_t frame, uint64_t* start, unsigned* order) const {
  for (*order = 0; *order <= kMaxOrder; ++*order) {
    *start = frame & ~((uint64_t{1} << *order) - 1);
    if (free_[*order].contains(*start)) return true;
  }
  return false;
}

bool Arena::AnyFree(uint64_t frame, unsigned order) const {
  uint64_t start = 0;
  unsigned around = 0;
  if (FreeBlockOf(frame, &start, &around)) return true;
  const uint64_t end = frame + (uint64_t{1} << order);
  for (unsigned smaller = 0; smaller < order; ++smaller) {
    const auto block = free_[smaller].lower_bound(frame);
    if (block != free_[smaller].end() && *block < end) return true;
  }
  return false;
}

bool Arena::IsFree(PhysicalAddress page) const {
  uint64_t start = 0;
  unsigned order = 0;
  return FreeBlockOf(page.frame(), &start, &order);
}

absl::StatusOr<PhysicalAddress> Arena::Allocate(unsigned order) {
  if (order > kMaxOrder) {
    return absl::InvalidArgumentError(
        absl::StrCat("a block of order ", order, "; at most ", kMaxOrder));
  }
  unsigned from = order;
  while (from <= kMaxOrder && free_[from].empty()) ++from;
  if (from > kMaxOrder) {
    return absl::ResourceExhaustedError(absl::StrCat("no free block of order ", order, " among ",
                                                     free_pages_, " free pages of the arena"));
  }
  const uint64_t frame = *free_[from].begin();
  const PhysicalAddress address(frame << abi::kPageShift);
  ASSIGN_OR_RETURN(absl::Span<std::byte> bytes, memory_->Write(address, BytesOfOrder(order)));
  memset(bytes.data(), 0, bytes.size());
  free_[from].erase(free_[from].begin());
  free_pages_ -= uint64_t{1} << order;
  while (from > order) {
    --from;
    free_[from].insert(frame + (uint64_t{1} << from));
  }
  return address;
}

absl::Status Arena::Free(PhysicalAddress address, unsigned order) {
  if (order > kMaxOrder || address.value() % BytesOfOrder(order) != 0 ||
      !range_.Contains(address, BytesOfOrder(order)) || address.value() == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("no block of order ", order, " of this arena at ", ToString(address)));
  }
  if (AnyFree(address.frame(), order)) {
    return absl::FailedPreconditionError(
        absl::StrCat("a page of the block at ", ToString(address), " is free already"));
  }
  Release(address.frame(), order);
  return absl::OkStatus();
}

absl::Status Arena::Reserve(PhysicalRange range) {
  if (!range.start.IsPageAligned() || range.size % abi::kPageSize != 0 || range.wraps()) {
    return absl::InvalidArgumentError("only whole pages can be reserved");
  }
  if (!range.Overlaps(range_)) return absl::OkStatus();
  const uint64_t begin = std::max(range.start.frame(), range_.start.frame());
  const uint64_t end = std::min(range.start.frame() + (range.size >> abi::kPageShift),
                                range_.start.frame() + (range_.size >> abi::kPageShift));
  uint64_t start = 0;
  unsigned order = 0;
  for (uint64_t frame = begin; frame < end; frame = start + (uint64_t{1} << order)) {
    if (!FreeBlockOf(frame, &start, &order)) {
      return absl::AlreadyExistsError(
          absl::StrCat("the page at ", ToString(PhysicalAddress(frame << abi::kPageShift)),
                       " is taken already"));
    }
  }
  uint64_t frame = begin;
  while (frame < end) {
    FreeBlockOf(frame, &start, &order);
    const uint64_t block_end = start + (uint64_t{1} << order);
    free_[order].erase(start);
    free_pages_ -= uint64_t{1} << order;
    ReleaseRange(start, frame);
    ReleaseRange(std::min(end, block_end), block_end);
    frame = block_end;
  }
  return absl::OkStatus();
}

}  // namespace luo
