// Where in the machine guest RAM lies: its physical page frames and how they are mapped. For tests
// and demonstrations, which show that RAM did not move and lies in huge pages.
//
//   ASSIGN_OR_RETURN(std::vector<FrameRun> before, ReadPageFrames(region));  // once preserved
//   // ... kexec, retrieve, prefault ...
//   ASSIGN_OR_RETURN(std::vector<FrameRun> after, ReadPageFrames(region));
//   return before == after;
//
// Frames are fixed from PRESERVE on, not before: it pins the folios, and first migrates those that
// lie in KHO's scratch areas, which are CMA (Linux 7.3, mm/memfd_luo.c).
//
// Both functions see only what this process has mapped by touching it (or by
// GuestMemory::Prefault): right after MemfdRegion::FromFd() that is nothing.
#ifndef GUEST_MEMORY_PAGE_FRAMES_H_
#define GUEST_MEMORY_PAGE_FRAMES_H_

#include <stdint.h>

#include <vector>

#include "absl/status/statusor.h"
#include "guest_memory/memfd_region.h"

namespace vmm {

// `pages` 4 KiB pages of a region, from the page_index-th on, in as many frames from `pfn` on.
struct FrameRun {
  uint64_t page_index = 0;
  uint64_t pfn = 0;
  uint64_t pages = 0;

  friend bool operator==(const FrameRun&, const FrameRun&) = default;
};

// All mapped pages, ascending and in the longest runs. kPermissionDenied without CAP_SYS_ADMIN.
// The bits are those of /proc/PID/pagemap (Linux 7.3, Documentation/admin-guide/mm/pagemap.rst).
absl::StatusOr<std::vector<FrameRun>> ReadPageFrames(const MemfdRegion& region);

// Bytes of the region mapped by 2 MiB page table entries: ShmemPmdMapped in /proc/self/smaps.
absl::StatusOr<uint64_t> HugeMappedBytes(const MemfdRegion& region);

}  // namespace vmm

#endif  // GUEST_MEMORY_PAGE_FRAMES_H_
