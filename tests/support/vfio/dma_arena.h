// DmaArena: memory for a device's DMA in a memfd, with guards around it that the device must never
// reach: they carry a pattern and are in no I/O address space.
//
//   ASSIGN_OR_RETURN(DmaArena arena, DmaArena::Create(16 << 20));
//   RETURN_IF_ERROR(arena.MapInto(ioas));
//   arena.At<uint64_t>(0);             // what the device sees at arena.Iova(0)
//   RETURN_IF_ERROR(arena.CheckGuards());
#ifndef TESTS_SUPPORT_VFIO_DMA_ARENA_H_
#define TESTS_SUPPORT_VFIO_DMA_ARENA_H_

#include <stddef.h>
#include <stdint.h>

#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "devices/vfio/iommu_fd.h"

namespace vmm {

// So many scattered places take more tables than vtd_liveupdate.max_tables allows: tests that need
// that set it to as many (tests/e2e/BUILD.bazel).
inline constexpr int kTooManyTables = 64;

class DmaArena {
 public:
  // `size` is a multiple of the page size.
  static absl::StatusOr<DmaArena> Create(uint64_t size);
  // One that came over a kexec.
  static absl::StatusOr<DmaArena> FromFd(UniqueFd memfd);

  DmaArena(DmaArena&& other) noexcept;
  DmaArena& operator=(DmaArena&&) = delete;
  ~DmaArena();

  absl::Status MapInto(Ioas& ioas) const;
  // Shows the first page in so many more places, each of which takes a page table page of its own.
  absl::Status MapScattered(Ioas& ioas, int places) const;
  absl::Status UnmapScattered(Ioas& ioas, int places) const;
  // Every byte of both guards is as it was made.
  absl::Status CheckGuards() const;

  int memfd() const { return memfd_.get(); }
  uint64_t size() const { return size_; }
  // `offset` is trusted: this is a test's own.
  uint8_t* Bytes(uint64_t offset) const;
  template <typename T>
  volatile T* At(uint64_t offset) const {
    return reinterpret_cast<volatile T*>(Bytes(offset));
  }
  uint64_t Iova(uint64_t offset) const;
  // Physical addresses of the pages from `offset` on, for a look from outside.
  absl::StatusOr<std::vector<uint64_t>> PhysicalPages(uint64_t offset, uint64_t length) const;

 private:
  DmaArena(UniqueFd memfd, uint8_t* mapping, uint64_t size)
      : memfd_(std::move(memfd)), mapping_(mapping), size_(size) {}
  static absl::StatusOr<DmaArena> Map(UniqueFd memfd, uint64_t size);

  UniqueFd memfd_;
  uint8_t* mapping_;  // null once moved from
  uint64_t size_;     // without the guards
};

}  // namespace vmm

#endif  // TESTS_SUPPORT_VFIO_DMA_ARENA_H_
