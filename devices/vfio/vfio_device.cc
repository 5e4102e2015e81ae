#include "devices/vfio/vfio_device.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "devices/vfio/explained_error.h"

namespace vmm {
namespace {

static_assert(sizeof(vfio_device_bind_iommufd) == 24);
static_assert(offsetof(vfio_device_bind_iommufd, out_devid) == 12);
static_assert(sizeof(vfio_device_attach_iommufd_pt) == 16);
static_assert(sizeof(vfio_device_detach_iommufd_pt) == 12);
static_assert(sizeof(vfio_device_info) == 24);
static_assert(sizeof(vfio_irq_info) == 16);

// A region's description with all its capabilities; far above what a kernel gives.
constexpr uint32_t kMaxRegionInfo = 64 << 10;

// A session's error, with what it means for a device.
absl::Status AnnotateWhy(const absl::Status& status, absl::string_view what,
                         absl::string_view why) {
  return Annotate(status, why.empty() ? std::string(what) : absl::StrCat(what, " (", why, ")"));
}

absl::string_view WhyNotOpened(int error) {
  switch (error) {
    case ENOENT:
    case ENODEV:
      return "no device is bound to a VFIO driver there";
    case EBUSY:
      return "it is in use";
    case EACCES:
      return "only root may open it";
    default:
      return "";
  }
}

absl::string_view WhyNotBound(int error) {
  switch (error) {
    case EINVAL:
      return "it is bound already, here or by another process, or firmware reserves memory for it, "
             "or the descriptor is no VFIO character device";
    case EBUSY:
      return "a VFIO group owns it, or it waits for its live update session";
    case EPERM:
      return "another iommufd has a device of its group, or its live update session is just giving "
             "it up (try again), or the platform cannot isolate its interrupts (interrupt "
             "remapping is off; iommufd's allow_unsafe_interrupts=1 accepts that)";
    case ENOTTY:
      return "the descriptor is no VFIO character device";
    default:
      return "";
  }
}

absl::string_view WhyNotAttached(int error) {
  switch (error) {
    case EINVAL:
      return "the page table is for another IOMMU, it maps IOVAs that are reserved for the device, "
             "or "
             "the device is not bound";
    case ENOENT:
      return "the context it is bound to has no such object";
    case EBUSY:
      return "it is being reset";
    case ENODATA:
      return "it came by live update, and is doing DMA: attach it to a page table, not to an "
             "address "
             "space";
    case EPERM:
      return "the platform cannot isolate its interrupts (interrupt remapping is off): load "
             "iommufd "
             "with allow_unsafe_interrupts=1 to accept that";
    default:
      return "";
  }
}

absl::string_view WhyNotReset(int error) {
  switch (error) {
    case EINVAL:
      return "it is not bound, or has no reset of its own";
    case ENOTTY:
      return "its reset methods were switched off, or the descriptor is no VFIO character device";
    case EAGAIN:
      return "it is locked: being bound, unbound or reset";
    default:
      return "";
  }
}

// What the kernel's live update of VFIO devices says; luo_kernel/linux/README.md has the whole
// list.
absl::string_view WhyNotPreserved(int error) {
  switch (error) {
    case ENOENT:
      return "the kernel cannot preserve VFIO devices";
    case ENOTCONN:
      return "it is bound to no iommufd, or attached to no page table";
    case EREMOTE:
      return "it is a virtual function";
    case ECHILD:
      return "it has virtual functions";
    case ENOTUNIQ:
      return "its DMA has a second requester ID";
    case EUSERS:
      return "it is not alone in its IOMMU group";
    case ENODEV:
      return "no IOMMU that can be preserved translates for it";
    case EPROTONOSUPPORT:
      return "ATS, PRI or PASIDs are in use";
    case EADDRINUSE:
      return "firmware reserves memory for it";
    case EOPNOTSUPP:
      return "it is a USB controller, which the next kernel stops at boot";
    case EDOM:
      return "its page table is nested, or of another kind that cannot be preserved";
    case EFBIG:
      return "all devices together have more page table pages than can be preserved";
    case EPROTO:
      return "the next kernel's options for IOMMU, interrupts or PCI are others than this one's";
    case ENXIO:
      return "the CPU has no CMPXCHG16B";
    default:
      return "";
  }
}

absl::string_view WhyNotRetrieved(int error) {
  switch (error) {
    case ENODEV:
      return "it is not there any more";
    case ENOLINK:
      return "this kernel runs the IOMMU in another mode, or does not find it";
    case EADDRNOTAVAIL:
      return "a BAR lies elsewhere than before";
    case EBUSY:
      return "vfio-pci is not bound to it";
    default:
      return "";
  }
}

}  // namespace

absl::StatusOr<VfioDevice> VfioDevice::Open(PciAddress address, const PciSysfs& sysfs,
                                            const std::string& dev) {
  ASSIGN_OR_RETURN(const std::string cdev, sysfs.VfioCdevName(address));
  return OpenCdev(absl::StrCat(dev, "/vfio/devices/", cdev));
}

absl::StatusOr<VfioDevice> VfioDevice::OpenCdev(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) {
    const int error = errno;
    return ExplainedError(error, absl::StrCat("open ", path), WhyNotOpened(error));
  }
  return VfioDevice(std::move(fd), path);
}

absl::Status VfioDevice::Preserve(luo::LiveUpdateSession& session, uint64_t token) const {
  const absl::Status status = session.PreserveFd(fd(), token);
  if (status.ok()) return status;
  const absl::string_view why = WhyNotPreserved(StatusErrno(status));
  return Annotate(status, why.empty() ? absl::StrCat("preserve ", name_)
                                      : absl::StrCat("preserve ", name_, " (", why, ")"));
}

absl::StatusOr<VfioDevice> VfioDevice::Retrieve(luo::LiveUpdateSession& session, uint64_t token) {
  absl::StatusOr<UniqueFd> fd = session.RetrieveFd(token);
  if (!fd.ok()) {
    return AnnotateWhy(fd.status(), "retrieve a VFIO device",
                       WhyNotRetrieved(StatusErrno(fd.status())));
  }
  return VfioDevice(*std::move(fd), absl::StrFormat("the VFIO device of token %#x", token));
}

absl::Status VfioDevice::Bind(const IommuFd& iommu) {
  vfio_device_bind_iommufd request = {.argsz = sizeof(request), .iommufd = iommu.fd()};
  if (ioctl(fd(), VFIO_DEVICE_BIND_IOMMUFD, &request) < 0) {
    const int error = errno;
    return ExplainedError(error, absl::StrCat("bind ", name_, " to an iommufd"),
                          WhyNotBound(error));
  }
  id_ = request.out_devid;
  return absl::OkStatus();
}

absl::Status VfioDevice::AttachId(uint32_t id, const char* what) {
  vfio_device_attach_iommufd_pt request = {.argsz = sizeof(request), .pt_id = id};
  if (ioctl(fd(), VFIO_DEVICE_ATTACH_IOMMUFD_PT, &request) < 0) {
    const int error = errno;
    return ExplainedError(error, absl::StrCat("attach ", name_, " to ", what, " ", id),
                          WhyNotAttached(error));
  }
  return absl::OkStatus();
}

absl::Status VfioDevice::Attach(const Hwpt& table) { return AttachId(table.id(), "page table"); }

absl::Status VfioDevice::Attach(const Ioas& ioas) { return AttachId(ioas.id(), "address space"); }

absl::Status VfioDevice::Detach() {
  vfio_device_detach_iommufd_pt request = {.argsz = sizeof(request)};
  if (ioctl(fd(), VFIO_DEVICE_DETACH_IOMMUFD_PT, &request) < 0) {
    const int error = errno;
    return ExplainedError(error, absl::StrCat("detach ", name_), WhyNotAttached(error));
  }
  return absl::OkStatus();
}

absl::StatusOr<VfioRegion> VfioDevice::Region(uint32_t index) const {
  const std::string what = absl::StrCat("region ", index, " of ", name_);
  // Twice, where capabilities follow: the first answer says how long it would be.
  std::vector<uint8_t> answer(sizeof(vfio_region_info));
  for (int attempt = 0; attempt < 2; ++attempt) {
    vfio_region_info fixed = {.argsz = static_cast<uint32_t>(answer.size()), .index = index};
    memcpy(answer.data(), &fixed, sizeof(fixed));
    if (ioctl(fd(), VFIO_DEVICE_GET_REGION_INFO, answer.data()) < 0) {
      const int error = errno;
      return ExplainedError(error, what,
                            error == EINVAL ? "there is none, or the device is not bound" : "");
    }
    memcpy(&fixed, answer.data(), sizeof(fixed));
    if (fixed.argsz <= answer.size()) break;
    if (fixed.argsz > kMaxRegionInfo || attempt == 1) {
      return absl::InvalidArgumentError(
          absl::StrCat(what, ": the kernel describes it in ", fixed.argsz, " bytes"));
    }
    answer.assign(fixed.argsz, 0);
  }
  absl::StatusOr<RegionInfo> info = DecodeRegionInfo(answer);
  if (!info.ok()) return Annotate(info.status(), what);
  if (info->size == 0) return absl::NotFoundError(what + ": it is empty");
  return VfioRegion(fd_, *std::move(info));
}

absl::StatusOr<PciConfigSpace> VfioDevice::Config() const {
  ASSIGN_OR_RETURN(VfioRegion region, Region(VFIO_PCI_CONFIG_REGION_INDEX));
  return PciConfigSpace(std::move(region));
}

absl::StatusOr<VfioInterrupts> VfioDevice::Interrupts(InterruptKind kind) const {
  vfio_irq_info info = {.argsz = sizeof(info), .index = static_cast<uint32_t>(kind)};
  const std::string what = absl::StrCat("interrupts of kind ", info.index, " of ", name_);
  if (ioctl(fd(), VFIO_DEVICE_GET_IRQ_INFO, &info) < 0) {
    const int error = errno;
    return ExplainedError(error, what,
                          error == EINVAL ? "there are none, or the device is not bound" : "");
  }
  if (info.count == 0) return absl::NotFoundError(what + ": there are none");
  return VfioInterrupts(fd_, kind,
                        {.count = info.count,
                         .event_fds = (info.flags & VFIO_IRQ_INFO_EVENTFD) != 0,
                         .maskable = (info.flags & VFIO_IRQ_INFO_MASKABLE) != 0,
                         .automasked = (info.flags & VFIO_IRQ_INFO_AUTOMASKED) != 0,
                         .resizable = (info.flags & VFIO_IRQ_INFO_NORESIZE) == 0});
}

absl::StatusOr<bool> VfioDevice::CanReset() const {
  vfio_device_info info = {.argsz = sizeof(info)};
  if (ioctl(fd(), VFIO_DEVICE_GET_INFO, &info) < 0) {
    const int error = errno;
    return ExplainedError(error, absl::StrCat("describe ", name_),
                          error == EINVAL ? "the device is not bound" : "");
  }
  return (info.flags & VFIO_DEVICE_FLAGS_RESET) != 0;
}

absl::Status VfioDevice::Reset() {
  if (ioctl(fd(), VFIO_DEVICE_RESET) < 0) {
    const int error = errno;
    return ExplainedError(error, absl::StrCat("reset ", name_), WhyNotReset(error));
  }
  return absl::OkStatus();
}

}  // namespace vmm
