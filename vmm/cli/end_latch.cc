#include "vmm/cli/end_latch.h"

#include <errno.h>
#include <sys/eventfd.h>

#include <utility>

#include "base/status.h"

namespace vmm {

absl::StatusOr<std::unique_ptr<EndLatch>> EndLatch::Create() {
  UniqueFd event(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!event.valid()) return ErrnoStatus(errno, "eventfd");
  return std::unique_ptr<EndLatch>(new EndLatch(std::move(event)));
}

void EndLatch::Set(MachineEnd end) {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (end_.has_value()) return;
    end_ = std::move(end);
  }
  eventfd_write(event_.get(), 1);
}

std::optional<MachineEnd> EndLatch::Get() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return end_;
}

}  // namespace vmm
