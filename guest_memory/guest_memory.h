// GuestMemory: a guest's RAM as an immutable map of memfd-backed regions.
//
//   ASSIGN_OR_RETURN(GuestMemory memory, GuestMemory::Create({.size = 4ull << 30}));
//   RETURN_IF_ERROR(memory.Write(GuestAddress(0x7000), bytes));
//   ASSIGN_OR_RETURN(uint32_t flags, memory.Load<uint32_t>(GuestAddress(0x7010)));
//
// Every access is bounds-checked and able to fail, none aborts: addresses come from the guest.
// kOutOfRange, with nothing read or written, for an access that is not RAM from end to end; it may
// span regions that touch. An access of no bytes succeeds anywhere.
//
// Guest RAM is shared with running vCPUs, so access is by volatile loads and stores and a value
// read twice may differ: read once, check, use the copy. Load and Store of a naturally aligned
// object of 1, 2, 4 or 8 bytes are one access.
//
// RAM is laid out as on a PC: from 0 up to the 32-bit PCI hole (kPciHoleStart), the rest from 4 GiB
// on, in regions of at most kMaxRegionSize.
//
// The map never changes once built, so const access needs no lock.
#ifndef GUEST_MEMORY_GUEST_MEMORY_H_
#define GUEST_MEMORY_GUEST_MEMORY_H_

#include <stdint.h>

#include <functional>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "guest_memory/address.h"
#include "guest_memory/memfd_region.h"
#include "guest_memory/prefault.h"

namespace vmm {

// RAM never lies in [kPciHoleStart, kPciHoleEnd): IOAPIC, LAPIC, and PCI windows do (as in QEMU's
// q35 and Firecracker).
inline constexpr uint64_t kPciHoleStart = 0xc0000000;
inline constexpr uint64_t kPciHoleEnd = 0x100000000;
// 16 TiB: what fits the 46-bit physical addresses that every x86-64 with nested paging offers, with
// room to spare.
inline constexpr uint64_t kMaxGuestRam = uint64_t{16} << 40;

// The ranges that `size` bytes of RAM occupy. `size` is a positive multiple of 4 KiB, at most
// kMaxGuestRam; kInvalidArgument otherwise.
absl::StatusOr<std::vector<GuestRange>> SplitGuestRam(uint64_t size);

class GuestMemory {
 public:
  struct Options {
    uint64_t size = 0;  // bytes
    HugePages huge_pages = HugePages::kAuto;
  };

  // Fresh zeroed RAM. Fails as SplitGuestRam() and MemfdRegion::Create() do.
  static absl::StatusOr<GuestMemory> Create(const Options& options);
  // RAM that exists already (retrieved after a kexec): regions in ascending order. kInvalidArgument
  // when there is none, or where they overlap each other or the PCI hole.
  static absl::StatusOr<GuestMemory> FromRegions(std::vector<MemfdRegion> regions);

  GuestMemory(GuestMemory&&) = default;
  GuestMemory& operator=(GuestMemory&&) = default;

  const std::vector<MemfdRegion>& regions() const { return regions_; }
  uint64_t size() const;  // total bytes of RAM
  // Of them, those that the host has not allocated yet.
  absl::StatusOr<uint64_t> MissingBytes() const;

  absl::Status Read(GuestAddress address, absl::Span<uint8_t> out) const;
  absl::Status Write(GuestAddress address, absl::Span<const uint8_t> bytes) const;
  absl::Status Fill(GuestAddress address, uint8_t value, uint64_t size) const;

  template <typename T>
  absl::StatusOr<T> Load(GuestAddress address) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    absl::Status status =
        Read(address, absl::MakeSpan(reinterpret_cast<uint8_t*>(&value), sizeof(T)));
    if (!status.ok()) return status;
    return value;
  }
  template <typename T>
  absl::Status Store(GuestAddress address, const T& value) const {
    static_assert(std::is_trivially_copyable_v<T>);
    return Write(address, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&value), sizeof(T)));
  }

  // Reads `size` bytes at `offset` of `fd` straight into guest RAM (loading images), without a
  // bounce buffer. kInvalidArgument when the file ends before; part of it may be in RAM then.
  absl::Status ReadFromFd(int fd, uint64_t offset, GuestAddress address, uint64_t size) const;

  // Faults all RAM in, on `threads` threads; `progress` (may be null) is called with bytes done,
  // from one thread at a time, and may end it by an error. kResourceExhausted when the host has not
  // enough memory.
  //
  // A live update allocates what is missing in any case, but at PREPARE, by file offset: without
  // this mapping's advice it gets 4 KiB folios unless shmem_enabled is "always", "within_size" or
  // "force" (Linux 7.3, mm/memfd.c, memfd_alloc_folio).
  absl::Status Prefault(int threads, const PrefaultProgress& progress) const;

 private:
  explicit GuestMemory(std::vector<MemfdRegion> regions) : regions_(std::move(regions)) {}

  // Calls visit(host address, bytes) for each region's part of the access, once all of it is known
  // to be RAM, and stops at the first error.
  template <typename Visit>
  absl::Status ForEachPart(GuestAddress address, uint64_t size, Visit visit) const;

  std::vector<MemfdRegion> regions_;  // ascending by address
};

}  // namespace vmm

#endif  // GUEST_MEMORY_GUEST_MEMORY_H_
