// MemfdRegion: one contiguous piece of guest RAM: a sealed memfd and its mapping in this process.
//
//   ASSIGN_OR_RETURN(MemfdRegion region,
//                    MemfdRegion::Create({GuestAddress(0), 1 << 30}, HugePages::kAuto));
//   SetMemorySlot(0, region.range(), region.host_address());
//   session.Preserve(region.fd(), token);
//
// A range starts at a multiple of 2 MiB and so does the mapping: guest-physical address, host
// address and file offset agree modulo 2 MiB, without which neither shmem nor KVM maps a 2 MiB
// folio in one piece. Its size is a multiple of 4 KiB, at most kMaxRegionSize.
//
// The memfd bears exactly SHRINK, GROW and SEAL, so nobody who gets it by SCM_RIGHTS can pull pages
// away from under a running guest. It must not bear F_SEAL_EXEC: Linux 7.3 retrieves a memfd into a
// fresh file with mode 0777 and re-applies the seals (mm/memfd_luo.c), and F_SEAL_EXEC on an
// executable file implies F_SEAL_WRITE (mm/memfd.c, memfd_add_seals): the guest's RAM would come
// back from the kexec read-only.
//
// Owns both fd and mapping. Immutable once made; what lies in the mapping is the guest's to change.
#ifndef GUEST_MEMORY_MEMFD_REGION_H_
#define GUEST_MEMORY_MEMFD_REGION_H_

#include <stdint.h>

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "guest_memory/address.h"
#include "guest_memory/shmem_huge_pages.h"

namespace vmm {

// How RAM asks for 2 MiB folios (transparent huge pages in shmem; a MFD_HUGETLB memfd cannot be
// preserved).
enum class HugePages {
  kAuto,  // ask; when the host doesn't give them, huge_pages_note() says so
  kOn,    // kFailedPrecondition when the host doesn't give them
  kOff,   // 4 KiB folios
};

// Well below 1 TiB, from where on the kernel cannot preserve a memfd: an array of a pointer for
// each 4 KiB page would pass INT_MAX bytes (Linux 7.3, mm/memfd_luo.c, memfd_luo_preserve_folios).
inline constexpr uint64_t kMaxRegionSize = uint64_t{512} << 30;

class MemfdRegion {
 public:
  // Fresh zeroed RAM, none of it allocated yet. kInvalidArgument for a range that cannot be;
  // `transparent_hugepage_dir` is elsewhere in tests only.
  static absl::StatusOr<MemfdRegion> Create(
      GuestRange range, HugePages huge_pages,
      const std::string& transparent_hugepage_dir = kTransparentHugepageDir);
  // Maps a memfd that holds RAM already, touching none of it. kInvalidArgument for one of another
  // size, without the seals, sealed against writing, or not a memfd.
  static absl::StatusOr<MemfdRegion> FromFd(GuestRange range, UniqueFd fd);

  MemfdRegion(MemfdRegion&& other) noexcept;
  MemfdRegion& operator=(MemfdRegion&& other) noexcept;
  ~MemfdRegion();

  GuestRange range() const { return range_; }
  int fd() const { return fd_.get(); }
  uint8_t* host_address() const { return host_address_; }
  // How much of it the host has allocated, in bytes; what a guest has not touched is a hole. A
  // folio that reaches past the region's end counts as a whole.
  absl::StatusOr<uint64_t> AllocatedBytes() const;
  // One line: why a region made with kAuto gets no 2 MiB folios and what to write where to get
  // them; empty when it gets them.
  const std::string& huge_pages_note() const { return huge_pages_note_; }

 private:
  MemfdRegion(GuestRange range, UniqueFd fd, uint8_t* host_address)
      : range_(range), fd_(std::move(fd)), host_address_(host_address) {}

  static absl::StatusOr<MemfdRegion> Map(GuestRange range, UniqueFd fd);
  void Unmap();

  GuestRange range_;
  UniqueFd fd_;
  uint8_t* host_address_ = nullptr;  // null once moved from
  std::string huge_pages_note_;
};

}  // namespace vmm

#endif  // GUEST_MEMORY_MEMFD_REGION_H_
