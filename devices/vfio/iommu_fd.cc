#include "devices/vfio/iommu_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/iommufd.h>
#include <sys/ioctl.h>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "devices/vfio/explained_error.h"

namespace vmm {
namespace {

// Linux 7.3, include/uapi/linux/iommufd.h: the kernel goes by the size it is told, so a header of
// another size would be another request.
static_assert(sizeof(iommu_destroy) == 8);
static_assert(sizeof(iommu_ioas_alloc) == 12);
static_assert(sizeof(iommu_ioas_map) == 40);
static_assert(sizeof(iommu_ioas_map_file) == 40);
static_assert(sizeof(iommu_ioas_unmap) == 24);
static_assert(sizeof(iommu_ioas_iova_ranges) == 32);
static_assert(sizeof(iommu_hwpt_alloc) == 48);

constexpr uint64_t kPageSize = 4096;
// Of one address space; real IOMMUs have a handful.
constexpr size_t kMaxIovaRanges = 1024;

uint32_t MapFlags(DmaAccess access) {
  uint32_t flags = IOMMU_IOAS_MAP_FIXED_IOVA;
  if (access != DmaAccess::kWrite) flags |= IOMMU_IOAS_MAP_READABLE;
  if (access != DmaAccess::kRead) flags |= IOMMU_IOAS_MAP_WRITEABLE;
  return flags;
}

absl::string_view WhyNot(int error) {
  switch (error) {
    case ENOTTY:
      return "the descriptor is no iommufd, or the kernel is older than this request";
    case E2BIG:
    case EOPNOTSUPP:
      return "the kernel does not know this form of the request";
    default:
      return "";
  }
}

absl::string_view WhyNotMapped(int error) {
  switch (error) {
    case EEXIST:
    case EADDRINUSE:
      return "an IOVA of the range is mapped already";
    case EINVAL:
      return "an IOVA of the range is reserved, out of the IOMMU's reach or not page-aligned, or "
             "the "
             "file cannot be mapped there";
    case ENOMEM:
      return "RLIMIT_MEMLOCK is used up, or the host has no memory left";
    case EFAULT:
      return "the memory is not mapped in this process, or not writable";
    case EPERM:
      return "a file's seals or its mode forbid it";
    case EBADF:
      return "the descriptor is not open";
    default:
      return WhyNot(error);
  }
}

absl::string_view WhyNotUnmapped(int error) {
  switch (error) {
    case ENOENT:
      return "nothing is mapped there, or a mapping crosses an end of the range";
    case EBUSY:
      return "something other than a page table uses the mapping";
    default:
      return WhyNot(error);
  }
}

absl::string_view WhyNoHwpt(int error) {
  switch (error) {
    case ENOENT:
      return "no device of this ID is bound to the context, or no such address space";
    case EINVAL:
      return "a mapping does not fit the IOMMU in front of the device, or the page table must be "
             "made "
             "with other flags";
    case EPERM:
      return "the platform cannot isolate the device's interrupts; see "
             "iommufd's allow_unsafe_interrupts";
    default:
      return WhyNot(error);
  }
}

std::string Describe(absl::string_view verb, uint64_t iova, uint64_t length) {
  return absl::StrFormat("%s %#x bytes at IOVA %#x", verb, length, iova);
}

}  // namespace

absl::Status CheckIovaRange(uint64_t iova, uint64_t length) {
  if (length == 0 || length % kPageSize != 0 || iova % kPageSize != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("IOVA %#x, length %#x: not one or more whole pages", iova, length));
  }
  if (length - 1 > UINT64_MAX - iova) {
    return absl::OutOfRangeError(
        absl::StrFormat("IOVA %#x, length %#x: past the end of the address space", iova, length));
  }
  return absl::OkStatus();
}

IommuObject& IommuObject::operator=(IommuObject&& other) noexcept {
  if (this != &other) {
    Destroy();
    context_ = std::move(other.context_);
    id_ = other.id_;
  }
  return *this;
}

IommuObject::~IommuObject() { Destroy(); }

void IommuObject::Destroy() {
  if (context_ == nullptr) return;
  iommu_destroy request = {.size = sizeof(request), .id = id_};
  // EBUSY: a device is attached. The context's end destroys it then.
  ioctl(context_->get(), IOMMU_DESTROY, &request);
  context_.reset();
}

absl::StatusOr<IommuFd> IommuFd::Open(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) {
    const int error = errno;
    return ExplainedError(error, absl::StrCat("open ", path),
                          error == ENOENT || error == ENODEV ? "the kernel has no CONFIG_IOMMUFD"
                          : error == EACCES                  ? "only root may open it"
                                                             : "");
  }
  return IommuFd(std::move(fd));
}

absl::StatusOr<Ioas> IommuFd::AllocateIoas() const {
  iommu_ioas_alloc request = {.size = sizeof(request)};
  if (ioctl(fd(), IOMMU_IOAS_ALLOC, &request) < 0) {
    const int error = errno;
    return ExplainedError(error, "allocate an I/O address space", WhyNot(error));
  }
  return Ioas(IommuObject(context_, request.out_ioas_id));
}

absl::StatusOr<Hwpt> IommuFd::AllocateHwpt(uint32_t device_id, const Ioas& ioas) const {
  iommu_hwpt_alloc request = {.size = sizeof(request), .dev_id = device_id, .pt_id = ioas.id()};
  if (ioctl(fd(), IOMMU_HWPT_ALLOC, &request) < 0) {
    const int error = errno;
    return ExplainedError(error,
                          absl::StrCat("allocate a page table of address space ", ioas.id(),
                                       " for device ", device_id),
                          WhyNoHwpt(error));
  }
  return Hwpt(IommuObject(context_, request.out_hwpt_id));
}

absl::Status Ioas::MapFile(int memfd, uint64_t file_offset, uint64_t length, uint64_t iova,
                           DmaAccess access) {
  RETURN_IF_ERROR(CheckIovaRange(iova, length));
  if (file_offset % kPageSize != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("file offset %#x is not page-aligned", file_offset));
  }
  iommu_ioas_map_file request = {.size = sizeof(request),
                                 .flags = MapFlags(access),
                                 .ioas_id = id(),
                                 .fd = memfd,
                                 .start = file_offset,
                                 .length = length,
                                 .iova = iova};
  if (ioctl(object_.context_fd(), IOMMU_IOAS_MAP_FILE, &request) < 0) {
    const int error = errno;
    return ExplainedError(error,
                          absl::StrCat(Describe("map", iova, length), " from descriptor ", memfd),
                          WhyNotMapped(error));
  }
  return absl::OkStatus();
}

absl::Status Ioas::MapMemory(void* memory, uint64_t length, uint64_t iova, DmaAccess access) {
  RETURN_IF_ERROR(CheckIovaRange(iova, length));
  const uint64_t address = reinterpret_cast<uintptr_t>(memory);
  if (address % kPageSize != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("memory at %#x is not page-aligned", address));
  }
  iommu_ioas_map request = {.size = sizeof(request),
                            .flags = MapFlags(access),
                            .ioas_id = id(),
                            .user_va = address,
                            .length = length,
                            .iova = iova};
  if (ioctl(object_.context_fd(), IOMMU_IOAS_MAP, &request) < 0) {
    const int error = errno;
    return ExplainedError(error, Describe("map", iova, length), WhyNotMapped(error));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint64_t> Ioas::Unmap(uint64_t iova, uint64_t length) {
  RETURN_IF_ERROR(CheckIovaRange(iova, length));
  iommu_ioas_unmap request = {
      .size = sizeof(request), .ioas_id = id(), .iova = iova, .length = length};
  if (ioctl(object_.context_fd(), IOMMU_IOAS_UNMAP, &request) < 0) {
    const int error = errno;
    return ExplainedError(error, Describe("unmap", iova, length), WhyNotUnmapped(error));
  }
  return request.length;
}

absl::StatusOr<std::vector<IovaRange>> Ioas::IovaRanges() const {
  static_assert(sizeof(IovaRange) == sizeof(iommu_iova_range));
  std::vector<IovaRange> ranges(16);
  while (true) {
    iommu_ioas_iova_ranges request = {.size = sizeof(request),
                                      .ioas_id = id(),
                                      .num_iovas = static_cast<uint32_t>(ranges.size()),
                                      .allowed_iovas = reinterpret_cast<uintptr_t>(ranges.data())};
    if (ioctl(object_.context_fd(), IOMMU_IOAS_IOVA_RANGES, &request) == 0) {
      if (request.num_iovas > ranges.size()) {
        return absl::InternalError("the kernel counts more IOVA ranges than it was asked for");
      }
      ranges.resize(request.num_iovas);
      return ranges;
    }
    const int error = errno;
    if (error != EMSGSIZE || request.num_iovas <= ranges.size() ||
        request.num_iovas > kMaxIovaRanges) {
      return ExplainedError(error, "list the IOVA ranges", WhyNot(error));
    }
    ranges.resize(request.num_iovas);
  }
}

}  // namespace vmm
