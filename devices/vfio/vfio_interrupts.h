// VfioInterrupts: one kind of a VFIO device's interrupts, delivered to eventfds.
//
//   ASSIGN_OR_RETURN(VfioInterrupts msix, device.Interrupts(InterruptKind::kMsix));
//   UniqueFd event(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
//   RETURN_IF_ERROR(msix.SetEventFds(/*first=*/0, {event.get()}));   // enables MSI-X, one vector
//   ...
//   RETURN_IF_ERROR(msix.Disable());
//
// VFIO keeps the eventfd's file, not the descriptor: it may be closed here. An INTx is masked by
// the kernel each time it is delivered, until Unmask(). MSI and MSI-X vectors cannot be masked by
// VFIO (the device's own table can, MSI-X); info().maskable says so.
//
// After a live update each MSI and MSI-X vector's eventfd is signalled once when it is first set,
// for what may have come in between. An INTx that was up already comes as soon as it is enabled;
// not so with QEMU's I/O APIC, where Mask() and then Unmask() bring it up.
//
// Source: Linux 7.3, include/uapi/linux/vfio.h, struct vfio_irq_set. Threads: the kernel serialises
// calls. Keeps the device's file open.
#ifndef DEVICES_VFIO_VFIO_INTERRUPTS_H_
#define DEVICES_VFIO_VFIO_INTERRUPTS_H_

#include <stdint.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"

namespace vmm {

// The numbers are VFIO's, enum VFIO_PCI_*_IRQ_INDEX.
enum class InterruptKind : uint32_t { kIntx = 0, kMsi = 1, kMsix = 2, kError = 3, kRequest = 4 };

struct InterruptInfo {
  uint32_t count = 0;  // vectors; 0 for a kind that the device does not have
  bool event_fds = false;
  bool maskable = false;
  bool automasked = false;
  bool resizable = true;  // vectors can be added while others of the kind are enabled
};

class VfioInterrupts {
 public:
  // Of the file `device`; VfioDevice::Interrupts() makes them.
  VfioInterrupts(std::shared_ptr<const UniqueFd> device, InterruptKind kind, InterruptInfo info)
      : device_(std::move(device)), kind_(kind), info_(info) {}

  const InterruptInfo& info() const { return info_; }

  // The vectors from `first` on signal these eventfds from now on; -1 leaves a vector without one.
  // The first call of a kind enables it, which disables no other: a device has one kind enabled at
  // a time (EINVAL). kOutOfRange past info().count.
  absl::Status SetEventFds(uint32_t first, absl::Span<const int> event_fds);
  // Whenever this eventfd is signalled, the kernel unmasks the vector: INTx without a system call a
  // time. -1 ends it.
  absl::Status SetUnmaskEventFd(uint32_t vector, int event_fd);

  absl::Status Mask(uint32_t first, uint32_t count);
  absl::Status Unmask(uint32_t first, uint32_t count);
  // As if the device had raised them: signals the eventfds.
  absl::Status Trigger(uint32_t first, uint32_t count);
  // Disables the kind and forgets all its eventfds. OK where it is not enabled.
  absl::Status Disable();

 private:
  absl::Status Set(uint32_t flags, uint32_t first, uint32_t count, absl::Span<const int> event_fds,
                   const char* verb);

  std::shared_ptr<const UniqueFd> device_;
  InterruptKind kind_;
  InterruptInfo info_;
};

// The bytes of a struct vfio_irq_set: a fixed part and the eventfds. kOutOfRange where a vector
// lies past `limit`; `count` 0 is the whole kind.
absl::StatusOr<std::vector<uint8_t>> EncodeIrqSet(uint32_t flags, InterruptKind kind,
                                                  uint32_t first, uint32_t count,
                                                  absl::Span<const int> event_fds, uint32_t limit);

}  // namespace vmm

#endif  // DEVICES_VFIO_VFIO_INTERRUPTS_H_
