// Page tables, and ways to attach them, that the kernel can make and does not hand over to the next
// one: the library (devices/vfio) has no use for them.
#ifndef TESTS_SUPPORT_VFIO_UNUSUAL_TABLES_H_
#define TESTS_SUPPORT_VFIO_UNUSUAL_TABLES_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "devices/vfio/vfio_device.h"
#include "tests/support/vfio/device_setup.h"
#include "tests/support/vfio/dma_arena.h"

namespace vmm {

// Each is as Drive(), and then:

// A PASID of the device is attached to the page table too.
absl::StatusOr<DrivenDevice> DriveWithPasid(VfioDevice device, const DmaArena& arena);
// The page table is one that others can be nested in.
absl::StatusOr<DrivenDevice> DriveByNestingParent(VfioDevice device, const DmaArena& arena);
// The device is attached to a table of its own, in `arena`, that is nested in such a one.
absl::StatusOr<DrivenDevice> DriveNested(VfioDevice device, const DmaArena& arena);

// As Drive(), of a device that was retrieved; but first a nested table is attached, which the
// kernel must refuse with EOPNOTSUPP, for it could not switch to it in one step.
absl::StatusOr<DrivenDevice> DriveAfterNested(VfioDevice device, const DmaArena& arena);

}  // namespace vmm

#endif  // TESTS_SUPPORT_VFIO_UNUSUAL_TABLES_H_
