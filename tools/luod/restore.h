// Restore: what luod does after the kexec: finds the manifest, gives each VM's session to a process
// that resumes it, and keeps its own hold on the session until the VM runs.
//
//   ASSIGN_OR_RETURN(Restore restore, Restore::Begin(environment, std::move(held_sessions)));
//   restore.Start();                                  // all VMs at once
//   ... restore.OnResumed(name, tsc); restore.OnChildExit(pid, wait_status); restore.OnTick(); ...
//   if (!restore.pending()) ...                       // the next update may come
//
// A VM whose process ends before the VM runs is "failed": its session stays here, Retry() starts it
// again, Abandon() gives it up. One whose process does not register in time counts as failed, too,
// until it does register. Other VMs are not concerned. Starting one VM twice is harmless: a
// state memfd is marked consumed before the first vCPU runs (vmm/state/FORMAT.md), so one process
// gets to run and the others give up.
//
// luod may die at any point. The manifest is on disk before any VM's session is retrieved, with
// each VM's outcome as it comes; the next luod is given the sessions that its supervisor kept and
// asks the kernel for those nobody retrieved.
#ifndef TOOLS_LUOD_RESTORE_H_
#define TOOLS_LUOD_RESTORE_H_

#include <stdint.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "tools/luod/clock.h"
#include "tools/luod/manifest.h"
#include "tools/luod/sessions.h"
#include "tools/luod/spawner.h"

namespace vmm {

class Restore {
 public:
  // What is pointed to must outlive the Restore.
  struct Environment {
    Sessions* sessions;
    ResumeSpawner* spawner;
    const Clock* clock;
    std::string manifest_path;
    // How long a VM's process may take to register; a second more for each GiB of its memory.
    std::chrono::milliseconds register_timeout;
    std::function<void(const std::string&)> log;
  };
  using HeldSessions = std::map<std::string, luo::LiveUpdateSession>;

  // Reads the manifest: from the session `luod`, else from disk, else there is nothing to restore.
  // `held` are the sessions that an earlier luod left, by name; those that no pending VM needs are
  // closed. An error means that there is a manifest and that it cannot be read; the sessions that
  // nobody retrieved stay in the kernel, and what there is of the manifest is on disk, so that no
  // later luod takes it that there are no VMs.
  static absl::StatusOr<Restore> Begin(Environment environment, HeldSessions held);

  // Retrieves the sessions and starts the VMs, in the manifest's order.
  void Start();
  // The VM registered: it runs and its session is finished. `run_tsc` is when its vCPUs started.
  void OnResumed(absl::string_view name, uint64_t run_tsc);
  // The status is waitpid()'s. Children that are not a VM's are ignored.
  void OnChildExit(pid_t pid, int wait_status);
  // To be called at least every 100 ms.
  void OnTick();

  // kNotFound: no such VM here; kFailedPrecondition: it is not in a state for that.
  absl::Status Retry(absl::string_view name);
  absl::Status Abandon(absl::string_view name);

  // Some VM neither runs nor was given up. The sessions here are then all that remains of it.
  bool pending() const { return manifest_.has_value() && manifest_->pending(); }
  // Some VM is on its way: it neither runs, nor failed, nor was given up.
  bool resuming() const;
  bool IsPending(absl::string_view name) const;
  // Pending VMs as `luoctl status` shows them: "resuming" or "failed", and why.
  std::vector<VmStatus> PendingStatus() const;
  // Of the update that brought this kernel up, if one did.
  const std::optional<Manifest>& manifest() const { return manifest_; }

 private:
  struct Vm {
    std::optional<luo::LiveUpdateSession> session = std::nullopt;
    pid_t pid = 0;  // of the resuming process; 0 when it is not a child of this luod
    std::optional<Clock::TimePoint> deadline = std::nullopt;  // to register
    std::string failure = "";                                 // why it is "failed"
  };

  explicit Restore(Environment environment) : environment_(std::move(environment)) {}

  absl::Status FindManifest(HeldSessions& held);
  // The manifest that the last kernel handed over; kNotFound when it handed over none.
  absl::StatusOr<Manifest> ReadSession(HeldSessions& held);
  void KeepUnreadable(int fd);
  Clock::TimePoint Deadline(const ManifestVm& entry) const;
  // Retrieves the session of `entry` where nobody has it.
  void StartVm(ManifestVm& entry);
  void Launch(const ManifestVm& entry, Vm& vm);
  void Settle(ManifestVm& entry, Outcome outcome);
  void Save();

  Environment environment_;
  std::optional<Manifest> manifest_;
  std::optional<luo::LiveUpdateSession> manifest_session_;
  std::map<std::string, Vm> vms_;  // the pending ones, by name
};

}  // namespace vmm

#endif  // TOOLS_LUOD_RESTORE_H_
