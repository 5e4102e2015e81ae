#include "devices/vfio/vfio_interrupts.h"

#include <errno.h>
#include <linux/vfio.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "devices/vfio/explained_error.h"

namespace vmm {
namespace {

static_assert(sizeof(vfio_irq_set) == 20 && offsetof(vfio_irq_set, data) == 20);
static_assert(static_cast<uint32_t>(InterruptKind::kIntx) == VFIO_PCI_INTX_IRQ_INDEX);
static_assert(static_cast<uint32_t>(InterruptKind::kMsi) == VFIO_PCI_MSI_IRQ_INDEX);
static_assert(static_cast<uint32_t>(InterruptKind::kMsix) == VFIO_PCI_MSIX_IRQ_INDEX);
static_assert(static_cast<uint32_t>(InterruptKind::kError) == VFIO_PCI_ERR_IRQ_INDEX);
static_assert(static_cast<uint32_t>(InterruptKind::kRequest) == VFIO_PCI_REQ_IRQ_INDEX);

absl::string_view Name(InterruptKind kind) {
  switch (kind) {
    case InterruptKind::kIntx:
      return "INTx";
    case InterruptKind::kMsi:
      return "MSI";
    case InterruptKind::kMsix:
      return "MSI-X";
    case InterruptKind::kError:
      return "error";
    case InterruptKind::kRequest:
      return "request";
  }
  return "unknown";
}

absl::string_view WhyNotSet(int error) {
  switch (error) {
    case EINVAL:
      return "another kind of interrupt is enabled, this one is not, or a vector does not exist";
    case ENOTTY:
      return "the device does not have this, or VFIO cannot do it for this kind";
    case ENOSPC:
      return "the host has no interrupt vector left";
    case EBADF:
      return "a descriptor is no open eventfd";
    case EBUSY:
      return "the line is shared, and the device cannot be masked by its command register";
    default:
      return "";
  }
}

}  // namespace

absl::StatusOr<std::vector<uint8_t>> EncodeIrqSet(uint32_t flags, InterruptKind kind,
                                                  uint32_t first, uint32_t count,
                                                  absl::Span<const int> event_fds, uint32_t limit) {
  if (count > limit || first > limit - count) {
    return absl::OutOfRangeError(absl::StrFormat("%s vectors %d to %d, of %d", Name(kind), first,
                                                 uint64_t{first} + count, limit));
  }
  if (!event_fds.empty() && event_fds.size() != count) {
    return absl::InvalidArgumentError("not one eventfd for each vector");
  }
  vfio_irq_set fixed = {};
  std::vector<uint8_t> bytes(sizeof(fixed) + event_fds.size() * sizeof(int32_t));
  fixed.argsz = bytes.size();
  fixed.flags = flags;
  fixed.index = static_cast<uint32_t>(kind);
  fixed.start = first;
  fixed.count = count;
  memcpy(bytes.data(), &fixed, sizeof(fixed));
  if (!event_fds.empty()) {
    static_assert(sizeof(int) == sizeof(int32_t));
    memcpy(bytes.data() + sizeof(fixed), event_fds.data(), event_fds.size() * sizeof(int32_t));
  }
  return bytes;
}

absl::Status VfioInterrupts::Set(uint32_t flags, uint32_t first, uint32_t count,
                                 absl::Span<const int> event_fds, const char* verb) {
  ASSIGN_OR_RETURN(std::vector<uint8_t> request,
                   EncodeIrqSet(flags, kind_, first, count, event_fds, info_.count));
  if (ioctl(device_->get(), VFIO_DEVICE_SET_IRQS, request.data()) < 0) {
    const int error = errno;
    return ExplainedError(
        error, absl::StrFormat("%s %s vectors, %d from %d on", verb, Name(kind_), count, first),
        WhyNotSet(error));
  }
  return absl::OkStatus();
}

absl::Status VfioInterrupts::SetEventFds(uint32_t first, absl::Span<const int> event_fds) {
  // No vectors would mean: disable them all.
  if (event_fds.empty()) return absl::InvalidArgumentError("no eventfds");
  return Set(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_TRIGGER, first,
             static_cast<uint32_t>(event_fds.size()), event_fds, "set eventfds of");
}

absl::Status VfioInterrupts::SetUnmaskEventFd(uint32_t vector, int event_fd) {
  return Set(VFIO_IRQ_SET_DATA_EVENTFD | VFIO_IRQ_SET_ACTION_UNMASK, vector, 1,
             absl::MakeConstSpan(&event_fd, 1), "set the unmasking eventfd of");
}

absl::Status VfioInterrupts::Mask(uint32_t first, uint32_t count) {
  return Set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_MASK, first, count, {}, "mask");
}

absl::Status VfioInterrupts::Unmask(uint32_t first, uint32_t count) {
  return Set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_UNMASK, first, count, {}, "unmask");
}

absl::Status VfioInterrupts::Trigger(uint32_t first, uint32_t count) {
  // None of them would mean: disable them all.
  if (count == 0) return absl::InvalidArgumentError("trigger no vector");
  return Set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, first, count, {}, "trigger");
}

absl::Status VfioInterrupts::Disable() {
  return Set(VFIO_IRQ_SET_DATA_NONE | VFIO_IRQ_SET_ACTION_TRIGGER, 0, 0, {}, "disable");
}

}  // namespace vmm
