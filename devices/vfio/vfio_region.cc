#include "devices/vfio/vfio_region.h"

#include <errno.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "devices/vfio/explained_error.h"

namespace vmm {
namespace {

constexpr uint64_t kPageSize = 4096;

std::string Describe(absl::string_view verb, const RegionInfo& info, uint64_t offset,
                     uint64_t size) {
  return absl::StrFormat("%s %d bytes at %#x of region %d", verb, size, offset, info.index);
}

// VFIO answers EIO also where memory decoding is switched off in the command register.
absl::Status TransferError(const RegionInfo& info, absl::string_view verb, uint64_t offset,
                           size_t size, ssize_t moved) {
  const int error = moved < 0 ? errno : EIO;
  absl::string_view why = "";
  if (error == EIO) why = "the device does not answer there, or its memory decoding is off";
  if (error == EINVAL) why = "the device is not bound to an iommufd, or the region is another kind";
  return ExplainedError(error, Describe(verb, info, offset, size), why);
}

}  // namespace

absl::Status CheckRegionAccess(uint64_t offset, size_t size, uint64_t limit) {
  if (size > limit || offset > limit - size) {
    return absl::OutOfRangeError(
        absl::StrFormat("%d bytes at %#x, of %#x bytes in all", size, offset, limit));
  }
  if (offset % size != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("%d bytes at %#x: not naturally aligned", size, offset));
  }
  return absl::OkStatus();
}

MappedRegion::MappedRegion(MappedRegion&& other) noexcept
    : device_(std::move(other.device_)),
      address_(std::exchange(other.address_, nullptr)),
      size_(std::exchange(other.size_, 0)) {}

MappedRegion& MappedRegion::operator=(MappedRegion&& other) noexcept {
  if (this != &other) {
    Unmap();
    device_ = std::move(other.device_);
    address_ = std::exchange(other.address_, nullptr);
    size_ = std::exchange(other.size_, 0);
  }
  return *this;
}

MappedRegion::~MappedRegion() { Unmap(); }

void MappedRegion::Unmap() {
  if (address_ != nullptr) munmap(address_, size_);
}

absl::Status VfioRegion::ReadBytes(uint64_t offset, void* value, size_t size) const {
  RETURN_IF_ERROR(CheckRegionAccess(offset, size, info_.size));
  const ssize_t moved =
      pread(device_->get(), value, size, static_cast<off_t>(info_.offset + offset));
  if (moved == static_cast<ssize_t>(size)) return absl::OkStatus();
  return TransferError(info_, "read", offset, size, moved);
}

absl::Status VfioRegion::WriteBytes(uint64_t offset, const void* value, size_t size) const {
  RETURN_IF_ERROR(CheckRegionAccess(offset, size, info_.size));
  const ssize_t moved =
      pwrite(device_->get(), value, size, static_cast<off_t>(info_.offset + offset));
  if (moved == static_cast<ssize_t>(size)) return absl::OkStatus();
  return TransferError(info_, "write", offset, size, moved);
}

absl::StatusOr<MappedRegion> VfioRegion::Map(uint64_t offset, uint64_t length) const {
  if (offset % kPageSize != 0 || length % kPageSize != 0) {
    return absl::InvalidArgumentError(Describe("map", info_, offset, length) + ": not whole pages");
  }
  if (!info_.MayMap(offset, length)) {
    return absl::FailedPreconditionError(Describe("map", info_, offset, length) +
                                         ": the device does not allow it");
  }
  const int protection = (info_.readable ? PROT_READ : 0) | (info_.writable ? PROT_WRITE : 0);
  void* const address = mmap(nullptr, length, protection, MAP_SHARED, device_->get(),
                             static_cast<off_t>(info_.offset + offset));
  if (address == MAP_FAILED) {
    const int error = errno;
    return ExplainedError(error, Describe("map", info_, offset, length),
                          error == EBUSY ? "somebody else of the host uses the BAR" : "");
  }
  return MappedRegion(device_, address, length);
}

}  // namespace vmm
