// Arena: the page allocator of a range of physical memory. Metadata comes from it, in folios of
// 2^order pages, aligned to their size.
//
//   ASSIGN_OR_RETURN(Arena arena, Arena::Create(&memory, {metadata, 64 << 20}));
//   ASSIGN_OR_RETURN(PhysicalAddress page, arena.Allocate(0));
//   RETURN_IF_ERROR(arena.Free(page, 0));
//
// Which pages are taken is known to the process only, as in a kernel: the one that boots over the
// same memory starts with all of them free and has IncomingHandover::Reserve() take those that were
// preserved.
//
// A buddy allocator: Allocate and Free take time in the logarithm of the arena's size. Not
// synchronised.
#ifndef LUO_KERNEL_KHO_ARENA_H_
#define LUO_KERNEL_KHO_ARENA_H_

#include <stdint.h>

#include <array>
#include <set>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

class Arena {
 public:
  // As Linux's MAX_PAGE_ORDER on x86: 4 MiB.
  static constexpr unsigned kMaxOrder = 10;

  // `range` is page-aligned, lies in `memory` and can be written; `memory` must outlive the arena.
  static absl::StatusOr<Arena> Create(WritablePhysicalMemory* memory, PhysicalRange range);

  // 2^order pages of zeros. kInvalidArgument past kMaxOrder, kResourceExhausted when there is no
  // such block.
  absl::StatusOr<PhysicalAddress> Allocate(unsigned order);
  // Gives back 2^order pages, all of them taken: what Allocate() or Reserve() took, whole or in
  // parts. kInvalidArgument for what is misaligned or outside, kFailedPrecondition where a page is
  // free already.
  absl::Status Free(PhysicalAddress address, unsigned order);
  // Takes the given pages; those of the range that are outside the arena are not its business.
  // kInvalidArgument for what is not page-aligned, kAlreadyExists, with nothing taken, where one is
  // taken already.
  absl::Status Reserve(PhysicalRange range);

  const PhysicalRange& range() const { return range_; }
  uint64_t free_pages() const { return free_pages_; }
  bool IsFree(PhysicalAddress page) const;

 private:
  Arena(WritablePhysicalMemory* memory, PhysicalRange range) : memory_(memory), range_(range) {}

  // Frames, absolute. A block of order n in free_[n] starts at a multiple of 2^n.
  void Release(uint64_t frame, unsigned order);
  void ReleaseRange(uint64_t begin, uint64_t end);
  // The free block that holds the frame: its start and order; false if the frame is taken.
  bool FreeBlockOf(uint64_t frame, uint64_t* start, unsigned* order) const;
  bool AnyFree(uint64_t frame, unsigned order) const;

  WritablePhysicalMemory* memory_;
  PhysicalRange range_;
  uint64_t free_pages_ = 0;
  std::array<std::set<uint64_t>, kMaxOrder + 1> free_;
};

}  // namespace luo

#endif  // LUO_KERNEL_KHO_ARENA_H_
