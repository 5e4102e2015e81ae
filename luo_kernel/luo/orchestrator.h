// Orchestrator: the state machine of the first LUO, for programs that want one place that says how
// far an update is, and participants that are asked to save themselves step by step.
//
//   Orchestrator orchestrator;
//   RETURN_IF_ERROR(orchestrator.Register("devices", &devices));
//   RETURN_IF_ERROR(orchestrator.Prepare());     // NORMAL → PREPARED; everything still runs
//   RETURN_IF_ERROR(orchestrator.Freeze());      // → FROZEN; the blackout begins
//   std::vector<Orchestrator::Payload> payloads = orchestrator.payloads();   // to hand over
//
//   // In the new kernel or process:
//   RETURN_IF_ERROR(orchestrator.Update(payloads));   // NORMAL → UPDATED
//   RETURN_IF_ERROR(orchestrator.Finish());           // → NORMAL
//
//        Prepare          Freeze           (kexec)         Finish
// NORMAL ───────► PREPARED ─────► FROZEN ···········► UPDATED ────► NORMAL
//    ▲               │ Cancel       │ Cancel
//    └───────────────┴──────────────┘
//
// Each participant has a payload of 64 bits, as the first LUO's subsystems had: Prepare and Freeze
// may set it, and Finish gets it. Callbacks run in the order of registration; Cancel in reverse,
// for those whose Prepare succeeded. When one fails, those that had succeeded are cancelled in
// reverse order, and the state is NORMAL again: after a failed Freeze too, as in the first LUO.
//
// Monitors: state() is the state as of now; event_fd() becomes readable whenever it changes, and a
// callback of AddMonitor() is told each change in order. None of them can change it.
//
// Errors: kFailedPrecondition (EINVAL) when the state does not allow the step; else what a callback
// said, with the participant's name before it.
//
// Threads: everything may be called from any thread, steps are serialised. Callbacks and monitors
// run in the thread of the step and must not take a step, register, or unregister; getters are
// fine.
//
// Source: the LUO of the first series for Linux 6.19 (luo_core.c: LIVEUPDATE_STATE_*;
// luo_subsystems.c). Linux 7.3 has no such states.
#ifndef LUO_KERNEL_LUO_ORCHESTRATOR_H_
#define LUO_KERNEL_LUO_ORCHESTRATOR_H_

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <functional>
#include <map>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace luo {

enum class LiveUpdateState { kNormal, kPrepared, kFrozen, kUpdated };

// "NORMAL", "PREPARED", "FROZEN", "UPDATED".
absl::string_view StateName(LiveUpdateState state);

// What a participant does at each step. Prepare and Freeze get the payload as it is and may change
// it; what a failed one wrote is forgotten.
class Participant {
 public:
  virtual ~Participant() = default;
  virtual absl::Status Prepare(uint64_t& payload) = 0;
  virtual absl::Status Freeze(uint64_t& /*payload*/) { return absl::OkStatus(); }
  // Undoes Prepare, and Freeze where it had succeeded. Cannot fail.
  virtual void Cancel(uint64_t payload) = 0;
  // After the update, with the payload handed over. A failure leaves the state UPDATED; the
  // participants before this one are not asked again.
  virtual absl::Status Finish(uint64_t payload) = 0;
};

class Orchestrator {
 public:
  // How a participant's payload is handed over.
  struct Payload {
    std::string name;
    uint64_t value = 0;
  };

  Orchestrator();
  Orchestrator(const Orchestrator&) = delete;
  Orchestrator& operator=(const Orchestrator&) = delete;

  // `participant` is borrowed until it is unregistered. In NORMAL and UPDATED only; kAlreadyExists
  // (EEXIST) for a name that is taken.
  absl::Status Register(absl::string_view name, Participant* participant);
  // In NORMAL only; kNotFound (ENOENT).
  absl::Status Unregister(absl::string_view name);

  absl::Status Prepare();
  absl::Status Freeze();
  absl::Status Cancel();
  // In the new kernel: takes the payloads over, calls nobody.
  absl::Status Update(const std::vector<Payload>& payloads);
  // Payloads of participants that are not registered make it fail with kNotFound (ENOENT), before
  // anybody is called: what nobody takes would be lost.
  absl::Status Finish();

  LiveUpdateState state() const { return state_.load(std::memory_order_acquire); }
  // The payloads of the registered participants, in their order.
  std::vector<Payload> payloads() const;

  // A non-blocking eventfd, readable after a change until it is read; it is this object's. An error
  // where the system has none to give.
  absl::StatusOr<int> event_fd() const;
  // `monitor` is told each new state, until RemoveMonitor() of the number that this returns.
  using Monitor = std::function<void(LiveUpdateState)>;
  uint64_t AddMonitor(Monitor monitor);
  void RemoveMonitor(uint64_t id);

 private:
  struct Member {
    std::string name;
    Participant* participant;
    uint64_t payload = 0;
    bool prepared = false;
  };

  absl::Status Require(LiveUpdateState state, absl::string_view step) const;
  void Enter(LiveUpdateState state);
  void CancelPrepared();

  // Held over a whole step.
  std::mutex step_mutex_;
  // Guards members_ and monitors_ against getters; taken after step_mutex_, not held in callbacks.
  mutable std::mutex mutex_;
  std::vector<Member> members_;
  std::vector<Payload> orphans_;
  std::map<uint64_t, Monitor> monitors_;
  uint64_t next_monitor_ = 1;
  std::atomic<LiveUpdateState> state_{LiveUpdateState::kNormal};
  vmm::UniqueFd event_fd_;
};

}  // namespace luo

#endif  // LUO_KERNEL_LUO_ORCHESTRATOR_H_
