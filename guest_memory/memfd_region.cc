#include "guest_memory/memfd_region.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "absl/status/status.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace vmm {
namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kHugePageSize = uint64_t{2} << 20;
constexpr int kRequiredSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
constexpr int kWriteSeals = F_SEAL_WRITE | F_SEAL_FUTURE_WRITE;

absl::Status CheckRange(GuestRange range) {
  if (range.size == 0 || range.size > kMaxRegionSize || range.size % kPageSize != 0 ||
      range.start.value() % kHugePageSize != 0 || !range.start.CheckedAdd(range.size)) {
    return absl::InvalidArgumentError(
        absl::StrFormat("guest RAM cannot lie at [%#x, +%#x): it starts at a multiple of 2 MiB and "
                        "measures a positive multiple of 4 KiB, at most %#x",
                        range.start.value(), range.size, kMaxRegionSize));
  }
  return absl::OkStatus();
}

absl::StatusOr<UniqueFd> CreateMemfd() {
  constexpr unsigned int kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  // MFD_EXEC asks for no F_SEAL_EXEC (the header says why) even where vm.memfd_noexec is 1 and
  // would add it. Kernels before 6.3 know neither flag nor seal.
  UniqueFd fd(memfd_create("guest-ram", kFlags | MFD_EXEC));
  if (!fd.valid() && errno == EINVAL) fd.Reset(memfd_create("guest-ram", kFlags));
  if (!fd.valid() && errno == EACCES) {
    return absl::FailedPreconditionError(
        "vm.memfd_noexec is 2: every memfd gets F_SEAL_EXEC, with which guest RAM would come back "
        "from a live update read-only; as root: sysctl vm.memfd_noexec=1");
  }
  if (!fd.valid()) return ErrnoStatus(errno, "memfd_create for guest RAM");
  return fd;
}

// Maps all of `fd` at a multiple of 2 MiB.
absl::StatusOr<uint8_t*> MapAligned(int fd, uint64_t size) {
  const uint64_t reserved = size + kHugePageSize;
  void* reservation =
      mmap(nullptr, reserved, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (reservation == MAP_FAILED) {
    return ErrnoStatus(errno, "reserving address space for guest RAM");
  }
  uint8_t* const begin = static_cast<uint8_t*>(reservation);
  const uint64_t head = -reinterpret_cast<uintptr_t>(begin) % kHugePageSize;
  uint8_t* const ram = begin + head;
  if (mmap(ram, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, fd, 0) == MAP_FAILED) {
    const int error = errno;
    munmap(reservation, reserved);
    return ErrnoStatus(error, "mapping guest RAM");
  }
  if (head > 0) munmap(begin, head);
  munmap(ram + size, kHugePageSize - head);
  return ram;
}

}  // namespace

absl::StatusOr<MemfdRegion> MemfdRegion::Map(GuestRange range, UniqueFd fd) {
  ASSIGN_OR_RETURN(uint8_t * host_address, MapAligned(fd.get(), range.size));
  MemfdRegion region(range, std::move(fd), host_address);
  // A core dump of the VMM shall neither hold the guest's secrets nor be as large as the guest.
  if (madvise(host_address, range.size, MADV_DONTDUMP) != 0) {
    return ErrnoStatus(errno, "MADV_DONTDUMP on guest RAM");
  }
  return region;
}

absl::StatusOr<MemfdRegion> MemfdRegion::Create(GuestRange range, HugePages huge_pages,
                                                const std::string& transparent_hugepage_dir) {
  RETURN_IF_ERROR(CheckRange(range));
  std::string note;
  if (huge_pages != HugePages::kOff) note = WhyNoShmemHugePages(transparent_hugepage_dir);
  if (huge_pages == HugePages::kOn && !note.empty()) return absl::FailedPreconditionError(note);

  ASSIGN_OR_RETURN(UniqueFd fd, CreateMemfd());
  if (ftruncate(fd.get(), static_cast<off_t>(range.size)) != 0) {
    return ErrnoStatus(errno, absl::StrFormat("sizing guest RAM to %#x bytes", range.size));
  }
  if (fcntl(fd.get(), F_ADD_SEALS, kRequiredSeals) != 0) {
    return ErrnoStatus(errno, "sealing guest RAM");
  }
  ASSIGN_OR_RETURN(MemfdRegion region, Map(range, std::move(fd)));
  // Advice fails only in a kernel without huge pages, and of that the note tells.
  madvise(region.host_address(), range.size,
          huge_pages == HugePages::kOff ? MADV_NOHUGEPAGE : MADV_HUGEPAGE);
  region.huge_pages_note_ = std::move(note);
  return region;
}

absl::StatusOr<MemfdRegion> MemfdRegion::FromFd(GuestRange range, UniqueFd fd) {
  RETURN_IF_ERROR(CheckRange(range));
  const int seals = fcntl(fd.get(), F_GET_SEALS);
  if (seals < 0) return ErrnoStatus(errno, "guest RAM is not in a memfd");
  if ((seals & kRequiredSeals) != kRequiredSeals) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "guest RAM's memfd bears seals %#x, not all of SHRINK, GROW and SEAL", seals));
  }
  if ((seals & kWriteSeals) != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("guest RAM's memfd is sealed against writing (seals %#x)", seals));
  }
  struct stat stat;
  if (fstat(fd.get(), &stat) != 0) return ErrnoStatus(errno, "fstat of guest RAM");
  if (static_cast<uint64_t>(stat.st_size) != range.size) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "guest RAM's memfd measures %#x bytes instead of %#x", stat.st_size, range.size));
  }
  ASSIGN_OR_RETURN(MemfdRegion region, Map(range, std::move(fd)));
  // The folios are what they are; this lets khugepaged join small ones later. It may be refused.
  madvise(region.host_address(), range.size, MADV_HUGEPAGE);
  return region;
}

absl::StatusOr<uint64_t> MemfdRegion::AllocatedBytes() const {
  constexpr uint64_t kBlockSize = 512;  // of st_blocks: inode(7)
  struct stat stat;
  if (fstat(fd_.get(), &stat) != 0) return ErrnoStatus(errno, "fstat of guest RAM");
  return stat.st_blocks * kBlockSize;
}

MemfdRegion::MemfdRegion(MemfdRegion&& other) noexcept
    : range_(other.range_),
      fd_(std::move(other.fd_)),
      host_address_(std::exchange(other.host_address_, nullptr)),
      huge_pages_note_(std::move(other.huge_pages_note_)) {}

MemfdRegion& MemfdRegion::operator=(MemfdRegion&& other) noexcept {
  if (this == &other) return *this;
  Unmap();
  range_ = other.range_;
  fd_ = std::move(other.fd_);
  host_address_ = std::exchange(other.host_address_, nullptr);
  huge_pages_note_ = std::move(other.huge_pages_note_);
  return *this;
}

MemfdRegion::~MemfdRegion() { Unmap(); }

void MemfdRegion::Unmap() {
  if (host_address_ != nullptr) munmap(host_address_, range_.size);
}

}  // namespace vmm
