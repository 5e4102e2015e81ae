#include "tests/support/vfio/dma_arena.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace vmm {
namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kGuardBytes = 64 << 10;
// Where the arena lies for devices; not its physical address by any chance, nor below 4 GiB alone.
constexpr uint64_t kArenaIova = 0x10'0000'0000;
constexpr uint64_t kScatteredIova = 0x20'0000'0000;
// What a page of a page table maps: 512 pages.
constexpr uint64_t kTableReach = 2 << 20;

uint64_t GuardWord(uint64_t offset) { return offset * 0x9e3779b97f4a7c15 + 0x5a5a; }

}  // namespace

absl::StatusOr<DmaArena> DmaArena::Map(UniqueFd memfd, uint64_t size) {
  void* const mapping =
      mmap(nullptr, size + 2 * kGuardBytes, PROT_READ | PROT_WRITE, MAP_SHARED, memfd.get(), 0);
  if (mapping == MAP_FAILED) return ErrnoStatus(errno, "map the DMA arena");
  return DmaArena(std::move(memfd), static_cast<uint8_t*>(mapping), size);
}

absl::StatusOr<DmaArena> DmaArena::Create(uint64_t size) {
  UniqueFd memfd(memfd_create("dma-arena", MFD_CLOEXEC));
  if (!memfd.valid()) return ErrnoStatus(errno, "memfd_create");
  if (ftruncate(memfd.get(), size + 2 * kGuardBytes) < 0) return ErrnoStatus(errno, "ftruncate");
  ASSIGN_OR_RETURN(DmaArena arena, Map(std::move(memfd), size));
  for (uint64_t i = 0; i < kGuardBytes; i += sizeof(uint64_t)) {
    *reinterpret_cast<uint64_t*>(arena.mapping_ + i) = GuardWord(i);
    *reinterpret_cast<uint64_t*>(arena.mapping_ + kGuardBytes + size + i) = GuardWord(~i);
  }
  return arena;
}

absl::StatusOr<DmaArena> DmaArena::FromFd(UniqueFd memfd) {
  struct stat info;
  if (fstat(memfd.get(), &info) < 0) return ErrnoStatus(errno, "fstat");
  if (static_cast<uint64_t>(info.st_size) <= 2 * kGuardBytes) {
    return absl::InvalidArgumentError("the memfd is no DMA arena");
  }
  return Map(std::move(memfd), info.st_size - 2 * kGuardBytes);
}

DmaArena::DmaArena(DmaArena&& other) noexcept
    : memfd_(std::move(other.memfd_)),
      mapping_(std::exchange(other.mapping_, nullptr)),
      size_(other.size_) {}

DmaArena::~DmaArena() {
  if (mapping_ != nullptr) munmap(mapping_, size_ + 2 * kGuardBytes);
}

absl::Status DmaArena::MapInto(Ioas& ioas) const {
  return ioas.MapFile(memfd(), kGuardBytes, size_, kArenaIova, DmaAccess::kReadWrite);
}

absl::Status DmaArena::MapScattered(Ioas& ioas, int places) const {
  for (int i = 0; i < places; ++i) {
    RETURN_IF_ERROR(ioas.MapFile(memfd(), kGuardBytes, kPageSize, kScatteredIova + i * kTableReach,
                                 DmaAccess::kReadWrite));
  }
  return absl::OkStatus();
}

absl::Status DmaArena::UnmapScattered(Ioas& ioas, int places) const {
  return ioas.Unmap(kScatteredIova, places * kTableReach).status();
}

absl::Status DmaArena::CheckGuards() const {
  for (uint64_t i = 0; i < kGuardBytes; i += sizeof(uint64_t)) {
    if (*reinterpret_cast<const volatile uint64_t*>(mapping_ + i) != GuardWord(i)) {
      return absl::DataLossError(
          absl::StrFormat("the guard before the arena is damaged at %#x", i));
    }
    if (*reinterpret_cast<const volatile uint64_t*>(mapping_ + kGuardBytes + size_ + i) !=
        GuardWord(~i)) {
      return absl::DataLossError(
          absl::StrFormat("the guard behind the arena is damaged at %#x", i));
    }
  }
  return absl::OkStatus();
}

uint8_t* DmaArena::Bytes(uint64_t offset) const { return mapping_ + kGuardBytes + offset; }

uint64_t DmaArena::Iova(uint64_t offset) const { return kArenaIova + offset; }

absl::StatusOr<std::vector<uint64_t>> DmaArena::PhysicalPages(uint64_t offset,
                                                              uint64_t length) const {
  const UniqueFd pagemap(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) return ErrnoStatus(errno, "/proc/self/pagemap");
  std::vector<uint64_t> pages;
  for (uint64_t at = offset; at < offset + length; at += kPageSize) {
    // It shows only what is mapped.
    (void)*At<uint8_t>(at);
    uint64_t entry;
    const off_t where = reinterpret_cast<uintptr_t>(Bytes(at)) / kPageSize * sizeof(entry);
    if (pread(pagemap.get(), &entry, sizeof(entry), where) != sizeof(entry)) {
      return ErrnoStatus(errno, "/proc/self/pagemap");
    }
    // Linux 7.3, Documentation/admin-guide/mm/pagemap.rst: bit 63 present, bits 0-54 the frame.
    if ((entry >> 63) == 0) return absl::InternalError("a page of the arena is not mapped");
    pages.push_back((entry & ((uint64_t{1} << 55) - 1)) * kPageSize);
  }
  return pages;
}

}  // namespace vmm
