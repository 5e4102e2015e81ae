#include "luo_kernel/kho/extent_memory.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace luo {
namespace {

constexpr uint64_t kMaxAlignment = uint64_t{1} << 30;

absl::Status CheckFile(int fd, uint64_t offset, uint64_t size, ExtentUse use) {
  struct stat info;
  if (fstat(fd, &info) < 0) return vmm::ErrnoStatus(errno, "extent");
  // The last page counts whole: a file has all of it, whatever its size says.
  const uint64_t end =
      (static_cast<uint64_t>(info.st_size) + abi::kPageSize - 1) & ~(abi::kPageSize - 1);
  if (offset > end || size > end - offset) {
    return absl::InvalidArgumentError(
        absl::StrCat("an extent of ", size, " bytes at ", offset, " in a file of ", end));
  }
  if (use != ExtentUse::kMetadata) return absl::OkStatus();
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
    return absl::InvalidArgumentError("a metadata extent in a file that could shrink");
  }
  return absl::OkStatus();
}

absl::Status NoMemoryAt(PhysicalAddress address) {
  return absl::OutOfRangeError(absl::StrCat("no memory at ", ToString(address)));
}

}  // namespace

ExtentMemory::~ExtentMemory() {
  for (auto& [start, piece] : pieces_) {
    if (piece.mapping != nullptr) munmap(piece.mapping, piece.size);
  }
}

absl::Status ExtentMemory::Add(PhysicalAddress address, vmm::UniqueFd fd, uint64_t offset,
                               uint64_t size, ExtentUse use) {
  if (!address.IsPageAligned() || offset % abi::kPageSize != 0 || size % abi::kPageSize != 0 ||
      size == 0) {
    return absl::InvalidArgumentError("an extent is made of whole pages, at least one");
  }
  if (address.value() >= kAddressLimit || size > kAddressLimit - address.value()) {
    return absl::OutOfRangeError(absl::StrCat("no extent can lie at ", ToString(address)));
  }
  RETURN_IF_ERROR(CheckFile(fd.get(), offset, size, use));
  auto next = pieces_.lower_bound(address.value());
  if (next != pieces_.end() && next->first - address.value() < size) {
    return absl::AlreadyExistsError(absl::StrCat("memory lies at ", ToString(address), " already"));
  }
  if (next != pieces_.begin()) {
    const auto previous = std::prev(next);
    if (address.value() - previous->first < previous->second.size) {
      return absl::AlreadyExistsError(
          absl::StrCat("memory lies at ", ToString(address), " already"));
    }
  }
  pieces_.emplace_hint(next, address.value(), Piece{size, std::move(fd), offset, use, nullptr});
  size_ += size;
  return absl::OkStatus();
}

absl::StatusOr<PhysicalAddress> ExtentMemory::AddAnywhere(vmm::UniqueFd fd, uint64_t offset,
                                                          uint64_t size, ExtentUse use) {
  if (size == 0 || size > kAddressLimit) return absl::InvalidArgumentError("no size for an extent");
  const uint64_t alignment = std::clamp(std::bit_floor(size), abi::kPageSize, kMaxAlignment);
  const auto align_up = [&](uint64_t at) { return (at + alignment - 1) & ~(alignment - 1); };
  uint64_t at = align_up(kFloor.value());
  for (const auto& [start, piece] : pieces_) {
    if (start + piece.size <= at) continue;
    if (start >= at && start - at >= size) break;
    at = align_up(start + piece.size);
  }
  RETURN_IF_ERROR(Add(PhysicalAddress(at), std::move(fd), offset, size, use));
  return PhysicalAddress(at);
}

absl::StatusOr<vmm::UniqueFd> ExtentMemory::Remove(PhysicalAddress address) {
  const auto piece = pieces_.find(address.value());
  if (piece == pieces_.end()) {
    return absl::NotFoundError(absl::StrCat("no extent starts at ", ToString(address)));
  }
  if (piece->second.mapping != nullptr) munmap(piece->second.mapping, piece->second.size);
  vmm::UniqueFd fd = std::move(piece->second.fd);
  size_ -= piece->second.size;
  pieces_.erase(piece);
  last_accessed_ = last_found_ = pieces_.end();
  return fd;
}

ExtentMemory::Pieces::const_iterator ExtentMemory::FindPiece(uint64_t address,
                                                             Pieces::const_iterator& hint) const {
  if (hint != pieces_.end() && address >= hint->first &&
      address - hint->first < hint->second.size) {
    return hint;
  }
  auto piece = pieces_.upper_bound(address);
  if (piece == pieces_.begin()) return pieces_.end();
  --piece;
  if (address - piece->first >= piece->second.size) return pieces_.end();
  return hint = piece;
}

absl::StatusOr<Extent> ExtentMemory::Find(PhysicalAddress address) const {
  const auto piece = FindPiece(address.value(), last_found_);
  if (piece == pieces_.end()) {
    return absl::NotFoundError(absl::StrCat("no extent at ", ToString(address)));
  }
  return Extent{{PhysicalAddress(piece->first), piece->second.size},
                piece->second.fd.get(),
                piece->second.offset,
                piece->second.use};
}

std::vector<Extent> ExtentMemory::extents() const {
  std::vector<Extent> extents;
  for (const auto& [start, piece] : pieces_) {
    extents.push_back(
        {{PhysicalAddress(start), piece.size}, piece.fd.get(), piece.offset, piece.use});
  }
  return extents;
}

absl::StatusOr<absl::Span<std::byte>> ExtentMemory::Access(PhysicalAddress address,
                                                           uint64_t size) const {
  const auto piece = FindPiece(address.value(), last_accessed_);
  if (piece == pieces_.end()) return NoMemoryAt(address);
  const auto& [start, what] = *piece;
  const uint64_t into = address.value() - start;
  if (size > what.size - into) {
    return absl::OutOfRangeError(absl::StrCat(size, " bytes at ", ToString(address),
                                              " go over the end of the extent, which has ",
                                              what.size - into, " there"));
  }
  if (what.use != ExtentUse::kMetadata) {
    return absl::PermissionDeniedError(
        absl::StrCat("the memory at ", ToString(address), " is data, not to be looked at"));
  }
  if (what.mapping == nullptr) {
    void* mapping = mmap(nullptr, what.size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE,
                         what.fd.get(), static_cast<off_t>(what.offset));
    if (mapping == MAP_FAILED) return vmm::ErrnoStatus(errno, "mapping an extent");
    what.mapping = static_cast<std::byte*>(mapping);
  }
  return absl::MakeSpan(what.mapping + into, size);
}

absl::StatusOr<absl::Span<const std::byte>> ExtentMemory::Read(PhysicalAddress address,
                                                               uint64_t size) const {
  ASSIGN_OR_RETURN(absl::Span<const std::byte> bytes, Access(address, size));
  return bytes;
}

absl::StatusOr<absl::Span<std::byte>> ExtentMemory::Write(PhysicalAddress address, uint64_t size) {
  return Access(address, size);
}

bool ExtentMemory::Contains(PhysicalAddress address, uint64_t size) const {
  uint64_t at = address.value();
  while (true) {
    const auto piece = FindPiece(at, last_found_);
    if (piece == pieces_.end()) return false;
    const uint64_t here = piece->second.size - (at - piece->first);
    if (size <= here) return true;
    size -= here;
    at += here;
  }
}

absl::StatusOr<vmm::UniqueFd> NewMemoryFile(const std::string& name, uint64_t size) {
  vmm::UniqueFd fd(memfd_create(name.c_str(), MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return vmm::ErrnoStatus(errno, "memfd_create");
  if (size > static_cast<uint64_t>(INT64_MAX)) return absl::InvalidArgumentError("file too large");
  if (ftruncate(fd.get(), static_cast<off_t>(size)) < 0) {
    return vmm::ErrnoStatus(errno, "sizing a memfd");
  }
  if (fcntl(fd.get(), F_ADD_SEALS, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0) {
    return vmm::ErrnoStatus(errno, "sealing a memfd");
  }
  return fd;
}

}  // namespace luo
