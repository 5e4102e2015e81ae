// Update: one host update in the old kernel, from CHECK to the kexec, as an event-driven state
// machine. It has no thread, no socket and no clock of its own, so that each failure of each step
// is a unit test.
//
//   Update update(environment, request, timeout, std::move(kernel), std::move(initrd), peers);
//   update.Start();
//   update.OnAnswer(peer, message);  // also OnGone(), OnTick(), Cancel(), as it happens
//   if (update.ready() && nobody_waits_to_be_heard) update.GoOn();
//   if (update.done()) Report(update.result());
//
// Its phases:
// - CHECK: the next kernel's live-update ABI and command line, kexec_file_load, the programs that
//   will resume the VMs, PING to each VM, and whether the host has the memory that guests have not
//   touched yet.
// - PREPARE: a session for each VM, which preserves its RAM there while the guest runs; then luod's
//   own session with the manifest, and sync(2).
// - FREEZE: guests pause and preserve their state; the manifest gets the figures.
// - KEXEC: reboot(KEXEC), which does not return.
//
// A rehearsal ends after PREPARE and is undone like a failure: it shows, with no pause of any
// guest, that every VM can be preserved and how long that takes.
//
// Before FREEZE and before KEXEC it is ready() and waits for GoOn(): whatever has arrived by then
// (a VM that is gone, a VM that nobody knew of, an operator's cancel) is heard first.
//
// Whatever goes wrong before the kexec (a VM's error, its silence, its death, the operator's word)
// leads to CANCEL: the sessions are closed, the image is unloaded, each VM is told and its answer
// awaited, and result() says which VM failed at which step. All guests run on.
#ifndef TOOLS_LUOD_UPDATE_H_
#define TOOLS_LUOD_UPDATE_H_

#include <stdint.h>

#include <chrono>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"
#include "tools/luod/clock.h"
#include "tools/luod/host.h"
#include "tools/luod/kexec.h"
#include "tools/luod/manifest.h"
#include "tools/luod/sessions.h"
#include "vmm/live_update/messages.h"

namespace vmm {

// A registered VM's connection.
class VmPeer {
 public:
  virtual ~VmPeer() = default;
  virtual const RegisterRequest& registration() const = 0;
  // Without blocking; an error means that the VM does not take the message.
  virtual absl::Status Send(const Message& message) = 0;
};

class Update {
 public:
  // What is pointed to must outlive the Update; no function may call back into it.
  struct Environment {
    Sessions* sessions;
    Kexec* kexec;
    Host* host;
    const Clock* clock;
    std::function<void(const Progress&)> progress;
    uint64_t generation;     // of this update
    std::string old_kernel;  // uname -r
  };

  // `peers` are borrowed: one that goes away must be announced by OnGone() before it is destroyed.
  Update(Environment environment, UpgradeRequest request, std::chrono::milliseconds vm_timeout,
         UniqueFd kernel, UniqueFd initrd, const std::vector<VmPeer*>& peers);

  void Start();
  // An answer to a request of the Update; late answers to earlier requests are ignored.
  void OnAnswer(VmPeer* peer, const Message& answer);
  void OnGone(VmPeer* peer);
  // To be called at least every 100 ms: deadlines.
  void OnTick();
  void Cancel(absl::string_view why);
  // Whether it waits for GoOn(), which must not be called otherwise.
  bool ready() const { return ready_; }
  void GoOn();

  bool done() const { return phase_ == Phase::kDone; }
  // Meaningful once done(): OK only for a request with check_only or rehearse.
  const absl::Status& result() const { return result_; }
  // "check", "prepare", "freeze", "kexec", "cancel" or "done".
  absl::string_view phase_name() const;

 private:
  enum class Phase { kCheck, kPrepare, kFreeze, kKexec, kCancel, kDone };

  struct Vm {
    VmPeer* peer;  // null once gone
    std::string name;
    bool prepared = false;           // PREPARE was sent: CANCEL is owed
    std::optional<uint32_t> awaits;  // the request whose answer is due
    std::optional<luo::LiveUpdateSession> session;
  };

  static std::chrono::seconds PreservingTime(const std::vector<Vm>& vms);
  void BeginPrepare();
  void EndPrepare();
  void BeginFreeze();
  void EndFreeze();
  void Execute();
  void Advance();
  absl::Status Check();
  absl::Status CheckMemory();
  // CANCEL: everything as before the update, which ends with `result`.
  void Undo(absl::Status result);
  void UndoFor(const Vm& vm, const absl::Status& why);
  // Keeps the first failure and says this one too.
  void AddToResult(const absl::Status& status);
  void EndIfNothingAwaited();
  absl::Status Ask(Vm& vm, Message message);
  absl::Status TakeAnswer(size_t index, const Message& answer);
  absl::Status PreserveManifest();
  bool Awaiting() const;
  std::string AwaitedNames() const;
  void Tell(absl::string_view text);

  Environment environment_;
  UpgradeRequest request_;
  std::chrono::milliseconds vm_timeout_;
  UniqueFd kernel_;
  UniqueFd initrd_;
  std::vector<Vm> vms_;  // as manifest_.vms
  Phase phase_ = Phase::kCheck;
  bool ready_ = false;
  uint64_t missing_bytes_ = 0;  // of guests' memory: not allocated yet
  Clock::TimePoint deadline_;
  uint32_t next_request_ = 1;
  Manifest manifest_;
  UniqueFd manifest_file_;
  std::optional<luo::LiveUpdateSession> manifest_session_;
  absl::Status result_;
};

}  // namespace vmm

#endif  // TOOLS_LUOD_UPDATE_H_
