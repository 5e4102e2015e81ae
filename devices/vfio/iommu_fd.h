// iommufd as a program sees it: IommuFd (a context), Ioas (an I/O address space: which IOVA shows
// which memory) and Hwpt (the page table an IOMMU walks, made from an Ioas).
//
//   ASSIGN_OR_RETURN(IommuFd iommu, IommuFd::Open());
//   ASSIGN_OR_RETURN(Ioas ioas, iommu.AllocateIoas());
//   RETURN_IF_ERROR(ioas.MapFile(memfd, /*file_offset=*/0, 64 << 20, /*iova=*/0x1000000,
//                                DmaAccess::kReadWrite));
//   RETURN_IF_ERROR(device.Bind(iommu));                    // devices/vfio/vfio_device.h
//   ASSIGN_OR_RETURN(Hwpt table, iommu.AllocateHwpt(device.id(), ioas));
//   RETURN_IF_ERROR(device.Attach(table));
//
// Mapping pins the memory until it is unmapped or the Ioas goes. A Hwpt follows its Ioas: what is
// mapped later appears in it too. Addresses and lengths are bytes, multiples of the page size
// (4096).
//
// An Ioas and a Hwpt keep their context open, so the order in which they go does not matter; the
// kernel refuses to destroy what a device is still attached to, and does so when the context's last
// user is closed.
//
// Errors are one line, begin with what was tried, and keep the errno (StatusErrno). Source of all
// rules: Linux 7.3, include/uapi/linux/iommufd.h.
//
// Threads: the kernel serialises calls; objects may be used from several threads as long as none
// moves or destroys them.
#ifndef DEVICES_VFIO_IOMMU_FD_H_
#define DEVICES_VFIO_IOMMU_FD_H_

#include <stddef.h>
#include <stdint.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace vmm {

// What a device may do with memory that is mapped for it.
enum class DmaAccess { kRead, kWrite, kReadWrite };

// IOVAs from `start` to `last`, inclusive.
struct IovaRange {
  uint64_t start = 0;
  uint64_t last = 0;

  friend bool operator==(const IovaRange&, const IovaRange&) = default;
};

// An object of an iommufd context: destroyed with this, if nothing uses it any more.
class IommuObject {
 public:
  IommuObject(std::shared_ptr<const UniqueFd> context, uint32_t id)
      : context_(std::move(context)), id_(id) {}
  IommuObject(IommuObject&&) noexcept = default;
  IommuObject& operator=(IommuObject&& other) noexcept;
  ~IommuObject();

  uint32_t id() const { return id_; }
  int context_fd() const { return context_->get(); }

 private:
  void Destroy();

  std::shared_ptr<const UniqueFd> context_;  // null once moved from
  uint32_t id_;
};

class Ioas {
 public:
  explicit Ioas(IommuObject object) : object_(std::move(object)) {}

  // Maps `length` bytes of a memfd, from `file_offset` on, at `iova`. No mapping of this process is
  // needed, and pages that are not allocated yet are allocated. Notable: kAlreadyExists (an IOVA of
  // the range is taken), kResourceExhausted (RLIMIT_MEMLOCK).
  absl::Status MapFile(int memfd, uint64_t file_offset, uint64_t length, uint64_t iova,
                       DmaAccess access);
  // The same for memory of this process, which must be page-aligned and stay mapped.
  absl::Status MapMemory(void* memory, uint64_t length, uint64_t iova, DmaAccess access);
  // Unmaps all mappings that lie wholly within the range, and returns how many bytes they had. A
  // mapping that crosses its ends is an error (kNotFound), as is a range without any.
  absl::StatusOr<uint64_t> Unmap(uint64_t iova, uint64_t length);

  // Where mappings may lie, which depends on the devices that are attached.
  absl::StatusOr<std::vector<IovaRange>> IovaRanges() const;

  uint32_t id() const { return object_.id(); }

 private:
  IommuObject object_;
};

class Hwpt {
 public:
  explicit Hwpt(IommuObject object) : object_(std::move(object)) {}
  uint32_t id() const { return object_.id(); }

 private:
  IommuObject object_;
};

class IommuFd {
 public:
  // Notable: kNotFound (the kernel has no CONFIG_IOMMUFD).
  static absl::StatusOr<IommuFd> Open(const std::string& path = "/dev/iommu");

  // An empty address space.
  absl::StatusOr<Ioas> AllocateIoas() const;
  // The page table of `ioas` for the IOMMU in front of a device that is bound to this context;
  // filled with all that is mapped by now. Attach it by this object, not by its Ioas, where a
  // device does DMA already: attaching by Ioas makes an empty page table first and fills it
  // afterwards.
  absl::StatusOr<Hwpt> AllocateHwpt(uint32_t device_id, const Ioas& ioas) const;

  int fd() const { return context_->get(); }

 private:
  explicit IommuFd(UniqueFd fd) : context_(std::make_shared<const UniqueFd>(std::move(fd))) {}

  std::shared_ptr<const UniqueFd> context_;
};

// `length` bytes at `iova`: not empty, page-aligned, not past the end of the address space.
absl::Status CheckIovaRange(uint64_t iova, uint64_t length);

}  // namespace vmm

#endif  // DEVICES_VFIO_IOMMU_FD_H_
