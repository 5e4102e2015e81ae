// KernelLiveUpdate: the LiveUpdateClient of a kernel with LUO, over /dev/liveupdate.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<KernelLiveUpdate> client, KernelLiveUpdate::Open());
//
// The kernel lets one process at a time hold the device. Sessions do not depend on it: those handed
// out stay usable after it is closed, and those that nobody retrieved wait in the kernel for
// whoever opens it next.
//
// Safe to use from several threads.
#ifndef LUO_KERNEL_CLIENT_KERNEL_LIVE_UPDATE_H_
#define LUO_KERNEL_CLIENT_KERNEL_LIVE_UPDATE_H_

#include <memory>
#include <string>
#include <utility>

#include "luo_kernel/client/live_update_client.h"

namespace luo {

class KernelLiveUpdate final : public LiveUpdateClient {
 public:
  // The first open after a kexec makes the kernel read what was handed over. Notable: kNotFound
  // (the kernel has no LUO, or booted without liveupdate=on), EBUSY (another process owns the
  // device), EIO (what was handed over cannot be read; every later open fails the same way until
  // the next boot).
  static absl::StatusOr<std::unique_ptr<KernelLiveUpdate>> Open(
      const std::string& path = "/dev/liveupdate");

  absl::StatusOr<LiveUpdateSession> CreateSession(absl::string_view name) override;
  absl::StatusOr<LiveUpdateSession> RetrieveSession(absl::string_view name) override;

 private:
  explicit KernelLiveUpdate(vmm::UniqueFd device) : device_(std::move(device)) {}

  vmm::UniqueFd device_;
};

}  // namespace luo

#endif  // LUO_KERNEL_CLIENT_KERNEL_LIVE_UPDATE_H_
