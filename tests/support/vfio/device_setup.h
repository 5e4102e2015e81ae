// What the test drivers have in common: finding a device, giving it memory, and the kexec.
#ifndef TESTS_SUPPORT_VFIO_DEVICE_SETUP_H_
#define TESTS_SUPPORT_VFIO_DEVICE_SETUP_H_

#include <stdint.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "devices/vfio/iommu_fd.h"
#include "devices/vfio/vfio_device.h"
#include "tests/support/vfio/dma_arena.h"

namespace vmm {

// A device and the page table it does DMA by; what the device needs to go on.
struct DrivenDevice {
  VfioDevice device;
  IommuFd iommu;
  Ioas ioas;
  Hwpt table;
};

// The only function with this ID that is not left to the host: the last one, where there are
// several.
absl::StatusOr<PciAddress> FindFunction(PciId id);

// Opens the function, or goes on with `device`, which was retrieved; shows it `arena`, and attaches
// it.
absl::StatusOr<DrivenDevice> Drive(VfioDevice device, const DmaArena& arena);

// Opens a function too, and attaches it to the page table of `first`.
absl::StatusOr<VfioDevice> OpenBeside(PciAddress address, const DrivenDevice& first);

// Loads the kernel and the initramfs of the share, with this kernel's command line and `more`, for
// Reboot().
absl::Status LoadNextKernel(const std::string& more = "");
// The same with `line` as the whole command line.
absl::Status LoadNextKernelWith(const std::string& line);
// Says in /share/vfio.began.GENERATION that it begins; returns only where the kernel refuses.
absl::Status Reboot(int generation);

// "EBUSY: " and the message; for errors with an errno.
std::string NamedError(const absl::Status& status);

// Waits for `event_fd` to be signalled, and takes the signal; false where it is not within `ms`.
bool WaitForEvent(int event_fd, int ms);

// CLOCK_MONOTONIC.
uint64_t NowNs();

}  // namespace vmm

#endif  // TESTS_SUPPORT_VFIO_DEVICE_SETUP_H_
