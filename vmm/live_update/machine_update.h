// MachineUpdate: what a running Machine does when luod updates the host under it.
//
//   MachineUpdate update(machine.get(), {.quiesce = [&] { console.Stop(); },
//                                        .go_on = [&] { console.Start(...); }});
//   Participant::Create(options, &update);
//
// Prepare() preserves guest RAM while the guest runs: contents may still change afterwards.
// Freeze() is in the blackout, so it does only what needs a guest that stands still; it refuses a
// machine that has ended. While prepared, this holds a descriptor of the session, as luod does, so
// either may die.
//
// Called by the Participant's thread; the destructor by whoever ends it.
#ifndef VMM_LIVE_UPDATE_MACHINE_UPDATE_H_
#define VMM_LIVE_UPDATE_MACHINE_UPDATE_H_

#include <stdint.h>

#include <functional>
#include <optional>
#include <utility>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "luo_kernel/client/live_update_client.h"
#include "vmm/live_update/participant.h"
#include "vmm/machine/machine.h"

namespace vmm {

class MachineUpdate final : public LiveUpdateTarget {
 public:
  // The machine's surroundings, in the guest's pause.
  struct Surroundings {
    // Stops whatever feeds devices from outside and brings out what the guest has printed: after
    // the kexec nobody could. The vCPUs stand still already.
    std::function<void()> quiesce;
    // Undoes it, before the vCPUs run again.
    std::function<void()> go_on;
  };

  // `machine` outlives this.
  MachineUpdate(Machine* machine, Surroundings surroundings)
      : machine_(machine), surroundings_(std::move(surroundings)) {}

  uint64_t MissingBytes() override;
  absl::StatusOr<PrepareReply> Prepare(UniqueFd session) override;
  absl::StatusOr<FreezeReply> Freeze() override;
  void Cancel() override;
  void End() override;

 private:
  Machine* const machine_;
  const Surroundings surroundings_;
  std::optional<luo::LiveUpdateSession> session_;
  bool paused_ = false;
};

}  // namespace vmm

#endif  // VMM_LIVE_UPDATE_MACHINE_UPDATE_H_
