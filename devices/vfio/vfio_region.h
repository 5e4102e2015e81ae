// VfioRegion: one region of a VFIO device, a BAR or the configuration space, read and written by
// bytes of its file or, where the device allows it, mapped.
//
//   ASSIGN_OR_RETURN(VfioRegion bar0, device.Region(0));
//   ASSIGN_OR_RETURN(uint32_t status, bar0.Read<uint32_t>(0x8));      // pread
//   ASSIGN_OR_RETURN(MappedRegion registers, bar0.Map(0, bar0.size()));
//   RETURN_IF_ERROR(registers.Write<uint32_t>(0x100, status | 2));    // one volatile store
//
// Every access has a type of 1, 2, 4 or 8 bytes, is naturally aligned, reaches the device as one
// access, and is checked against the region's size: kOutOfRange past it, kInvalidArgument
// unaligned. Offsets are bytes from the start of the region (of the mapping, for MappedRegion).
//
// Both keep the device's file open, and with it the device bound and attached.
//
// Threads: accesses from several threads are as ordered as the CPU's own.
#ifndef DEVICES_VFIO_VFIO_REGION_H_
#define DEVICES_VFIO_VFIO_REGION_H_

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "devices/vfio/region_info.h"

namespace vmm {

// An access of `size` bytes at `offset` of something that is `limit` bytes long.
absl::Status CheckRegionAccess(uint64_t offset, size_t size, uint64_t limit);

// The types of register accesses.
template <typename T>
inline constexpr bool kIsRegister =
    std::is_integral_v<T>&& std::is_unsigned_v<T> && !std::is_same_v<T, bool>;

class MappedRegion {
 public:
  // Takes over a mapping of `size` bytes, made by mmap(2); VfioRegion::Map() makes them.
  MappedRegion(std::shared_ptr<const UniqueFd> device, void* address, uint64_t size)
      : device_(std::move(device)), address_(static_cast<uint8_t*>(address)), size_(size) {}
  MappedRegion(MappedRegion&& other) noexcept;
  MappedRegion& operator=(MappedRegion&& other) noexcept;
  ~MappedRegion();

  template <typename T>
  absl::StatusOr<T> Read(uint64_t offset) const {
    static_assert(kIsRegister<T>);
    absl::Status status = CheckRegionAccess(offset, sizeof(T), size_);
    if (!status.ok()) return status;
    return *reinterpret_cast<const volatile T*>(address_ + offset);
  }

  template <typename T>
  absl::Status Write(uint64_t offset, T value) {
    static_assert(kIsRegister<T>);
    absl::Status status = CheckRegionAccess(offset, sizeof(T), size_);
    if (status.ok()) *reinterpret_cast<volatile T*>(address_ + offset) = value;
    return status;
  }

  uint64_t size() const { return size_; }

 private:
  void Unmap();

  std::shared_ptr<const UniqueFd> device_;
  uint8_t* address_ = nullptr;  // null once moved from
  uint64_t size_ = 0;
};

class VfioRegion {
 public:
  // Of the file `device`; VfioDevice::Region() makes them.
  VfioRegion(std::shared_ptr<const UniqueFd> device, RegionInfo info)
      : device_(std::move(device)), info_(std::move(info)) {}

  const RegionInfo& info() const { return info_; }
  uint64_t size() const { return info_.size; }

  template <typename T>
  absl::StatusOr<T> Read(uint64_t offset) const {
    static_assert(kIsRegister<T>);
    T value;
    absl::Status status = ReadBytes(offset, &value, sizeof(T));
    if (!status.ok()) return status;
    return value;
  }

  template <typename T>
  absl::Status Write(uint64_t offset, T value) {
    static_assert(kIsRegister<T>);
    return WriteBytes(offset, &value, sizeof(T));
  }

  // kFailedPrecondition where the device does not let these bytes be mapped. `offset` and `length`
  // are whole pages.
  absl::StatusOr<MappedRegion> Map(uint64_t offset, uint64_t length) const;

 private:
  absl::Status ReadBytes(uint64_t offset, void* value, size_t size) const;
  absl::Status WriteBytes(uint64_t offset, const void* value, size_t size) const;

  std::shared_ptr<const UniqueFd> device_;
  RegionInfo info_;
};

}  // namespace vmm

#endif  // DEVICES_VFIO_VFIO_REGION_H_
