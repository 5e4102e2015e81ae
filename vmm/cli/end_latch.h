// EndLatch: holds the first reason for which a machine ended, and a descriptor to wait for it with.
//
//   EndLatch end = ...;
//   environment.on_end = [&end](MachineEnd why) { end.Set(std::move(why)); };
//   poll({end.fd(), POLLIN});
//   MachineEnd why = end.Get();
//
// Set() may be called from any thread, any number of times; only the first counts.
#ifndef VMM_CLI_END_LATCH_H_
#define VMM_CLI_END_LATCH_H_

#include <memory>
#include <mutex>
#include <optional>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "vmm/machine/end.h"

namespace vmm {

class EndLatch {
 public:
  static absl::StatusOr<std::unique_ptr<EndLatch>> Create();

  void Set(MachineEnd end);
  // Readable once Set() was called.
  int fd() const { return event_.get(); }
  std::optional<MachineEnd> Get() const;

 private:
  explicit EndLatch(UniqueFd event) : event_(std::move(event)) {}

  const UniqueFd event_;
  mutable std::mutex mutex_;
  std::optional<MachineEnd> end_;
};

}  // namespace vmm

#endif  // VMM_CLI_END_LATCH_H_
