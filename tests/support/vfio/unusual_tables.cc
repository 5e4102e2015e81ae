#include "tests/support/vfio/unusual_tables.h"

#include <errno.h>
#include <linux/iommufd.h>
#include <linux/vfio.h>
#include <stdint.h>
#include <sys/ioctl.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "devices/vfio/iommu_fd.h"

namespace vmm {
namespace {

constexpr uint32_t kPasid = 5;

// A page table in `parent`, an Ioas or a Hwpt, with IOMMU_HWPT_ALLOC_* in `flags`. It goes with the
// context.
absl::StatusOr<uint32_t> AllocateTable(const IommuFd& iommu, uint32_t device, uint32_t parent,
                                       uint32_t flags, const iommu_hwpt_vtd_s1* nested = nullptr) {
  iommu_hwpt_alloc request = {
      .size = sizeof(request), .flags = flags, .dev_id = device, .pt_id = parent};
  if (nested != nullptr) {
    request.data_type = IOMMU_HWPT_DATA_VTD_S1;
    request.data_len = sizeof(*nested);
    request.data_uptr = reinterpret_cast<uintptr_t>(nested);
  }
  if (ioctl(iommu.fd(), IOMMU_HWPT_ALLOC, &request) < 0) {
    return ErrnoStatus(errno, "allocate a page table");
  }
  return request.out_hwpt_id;
}

// In a table of the address space that others can be nested in: an empty page of `arena`, as a
// table of four levels.
absl::StatusOr<uint32_t> AllocateNested(const IommuFd& iommu, const VfioDevice& device,
                                        const Ioas& ioas, const DmaArena& arena) {
  ASSIGN_OR_RETURN(const uint32_t parent,
                   AllocateTable(iommu, device.id(), ioas.id(), IOMMU_HWPT_ALLOC_NEST_PARENT));
  const iommu_hwpt_vtd_s1 nested = {.pgtbl_addr = arena.Iova(0), .addr_width = 48};
  return AllocateTable(iommu, device.id(), parent, 0, &nested);
}

absl::Status Attach(const VfioDevice& device, uint32_t table, uint32_t flags, uint32_t pasid) {
  vfio_device_attach_iommufd_pt request = {
      .argsz = sizeof(request), .flags = flags, .pt_id = table, .pasid = pasid};
  if (ioctl(device.fd(), VFIO_DEVICE_ATTACH_IOMMUFD_PT, &request) < 0) {
    return ErrnoStatus(errno, "attach");
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<DrivenDevice> DriveWithPasid(VfioDevice device, const DmaArena& arena) {
  ASSIGN_OR_RETURN(DrivenDevice driven, Drive(std::move(device), arena));
  ASSIGN_OR_RETURN(const uint32_t table, AllocateTable(driven.iommu, driven.device.id(),
                                                       driven.ioas.id(), IOMMU_HWPT_ALLOC_PASID));
  // Both attachments must be to tables that were made for PASIDs.
  RETURN_IF_ERROR(Attach(driven.device, table, 0, 0));
  RETURN_IF_ERROR(Attach(driven.device, table, VFIO_DEVICE_ATTACH_PASID, kPasid));
  return driven;
}

absl::StatusOr<DrivenDevice> DriveByNestingParent(VfioDevice device, const DmaArena& arena) {
  ASSIGN_OR_RETURN(DrivenDevice driven, Drive(std::move(device), arena));
  ASSIGN_OR_RETURN(const uint32_t table,
                   AllocateTable(driven.iommu, driven.device.id(), driven.ioas.id(),
                                 IOMMU_HWPT_ALLOC_NEST_PARENT));
  RETURN_IF_ERROR(Attach(driven.device, table, 0, 0));
  return driven;
}

absl::StatusOr<DrivenDevice> DriveNested(VfioDevice device, const DmaArena& arena) {
  ASSIGN_OR_RETURN(DrivenDevice driven, Drive(std::move(device), arena));
  ASSIGN_OR_RETURN(const uint32_t table,
                   AllocateNested(driven.iommu, driven.device, driven.ioas, arena));
  RETURN_IF_ERROR(Attach(driven.device, table, 0, 0));
  return driven;
}

absl::StatusOr<DrivenDevice> DriveAfterNested(VfioDevice device, const DmaArena& arena) {
  ASSIGN_OR_RETURN(IommuFd iommu, IommuFd::Open());
  ASSIGN_OR_RETURN(Ioas ioas, iommu.AllocateIoas());
  RETURN_IF_ERROR(arena.MapInto(ioas));
  RETURN_IF_ERROR(device.Bind(iommu));
  ASSIGN_OR_RETURN(const uint32_t nested, AllocateNested(iommu, device, ioas, arena));
  const absl::Status refused = Attach(device, nested, 0, 0);
  if (StatusErrno(refused) != EOPNOTSUPP) {
    return absl::InternalError(
        absl::StrCat("a nested page table was attached: ", refused.message()));
  }
  ASSIGN_OR_RETURN(Hwpt table, iommu.AllocateHwpt(device.id(), ioas));
  RETURN_IF_ERROR(device.Attach(table));
  return DrivenDevice{std::move(device), std::move(iommu), std::move(ioas), std::move(table)};
}

}  // namespace vmm
