#include "tools/luod/restore.h"

#include <string.h>
#include <sys/wait.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/live_update/tokens.h"

namespace vmm {
namespace {

std::string HowItEnded(int wait_status) {
  if (WIFSIGNALED(wait_status)) {
    return absl::StrCat("its process was killed by signal ", WTERMSIG(wait_status),
                        " before it registered");
  }
  return absl::StrCat("its process exited with status ", WEXITSTATUS(wait_status),
                      " before it registered; luod's log says why");
}

}  // namespace

absl::StatusOr<Restore> Restore::Begin(Environment environment, HeldSessions held) {
  Restore restore(std::move(environment));
  RETURN_IF_ERROR(restore.FindManifest(held));
  if (!restore.manifest_.has_value()) return restore;
  for (const ManifestVm& entry : restore.manifest_->vms) {
    if (entry.outcome != Outcome::kPending) continue;
    Vm& vm = restore.vms_[entry.name];
    auto found = held.find(entry.session);
    if (found == held.end()) continue;
    vm.session = std::move(found->second);
    vm.deadline = restore.Deadline(entry);
  }
  return restore;
}

absl::Status Restore::FindManifest(HeldSessions& held) {
  absl::StatusOr<Manifest> saved = LoadManifest(environment_.manifest_path);
  absl::StatusOr<Manifest> handed_over = ReadSession(held);
  if (handed_over.ok()) {
    // The copy on disk knows more, when it is a copy of this one.
    bool same = saved.ok() && saved->generation == handed_over->generation &&
                saved->kexec_tsc == handed_over->kexec_tsc;
    manifest_ = same ? *std::move(saved) : *std::move(handed_over);
  } else if (saved.ok()) {
    manifest_ = *std::move(saved);
  } else if (!absl::IsNotFound(handed_over.status())) {
    return handed_over.status();
  } else {
    return absl::IsNotFound(saved.status()) ? absl::OkStatus() : saved.status();
  }
  if (manifest_->luod_tsc == 0) manifest_->luod_tsc = environment_.clock->Tsc();
  Save();
  return absl::OkStatus();
}

absl::StatusOr<Manifest> Restore::ReadSession(HeldSessions& held) {
  auto found = held.find(kManifestSession);
  const bool was_held = found != held.end();
  absl::StatusOr<luo::LiveUpdateSession> session =
      was_held ? absl::StatusOr<luo::LiveUpdateSession>(std::move(found->second))
               : environment_.sessions->Retrieve(kManifestSession);
  if (!session.ok()) return session.status();
  absl::StatusOr<UniqueFd> file = environment_.sessions->RetrieveFile(*session, kManifestToken);
  if (absl::IsInvalidArgument(file.status()) && was_held) {
    return absl::NotFoundError("the session is of an update that did not come to its kexec");
  }
  if (!file.ok()) {
    KeepUnreadable(-1);
    return absl::DataLossError(absl::StrCat("luod's manifest: ", file.status().message()));
  }
  absl::StatusOr<Manifest> manifest = ReadManifest(file->get());
  if (!manifest.ok()) {
    KeepUnreadable(file->get());
    return manifest.status();
  }
  manifest_session_ = *std::move(session);
  return manifest;
}

// The session's last close frees the manifest.
void Restore::KeepUnreadable(int fd) {
  absl::Status kept = SaveUnreadableManifest(environment_.manifest_path, fd);
  environment_.log(
      kept.ok()
          ? absl::StrCat("the manifest of the VMs that came over the kexec cannot be read; it "
                         "is kept as ",
                         environment_.manifest_path,
                         " for a luod that can. The VMs wait in the kernel; without that file "
                         "they count as given up")
          : std::string(kept.message()));
}

Clock::TimePoint Restore::Deadline(const ManifestVm& entry) const {
  constexpr uint64_t kMostGib = 1 << 16;
  return environment_.clock->Now() + environment_.register_timeout +
         std::chrono::seconds(std::min(entry.memory_bytes >> 30, kMostGib));
}

void Restore::Start() {
  if (!pending()) return;
  environment_.log(absl::StrCat("update ", manifest_->generation, " from kernel ",
                                manifest_->old_kernel, " brought ", vms_.size(), " VMs"));
  for (ManifestVm& entry : manifest_->vms) {
    if (entry.outcome == Outcome::kPending) StartVm(entry);
  }
  if (manifest_->retrieved_tsc == 0) manifest_->retrieved_tsc = environment_.clock->Tsc();
  Save();
}

void Restore::StartVm(ManifestVm& entry) {
  Vm& vm = vms_[entry.name];
  if (vm.session.has_value()) return;  // held since before: its deadline runs
  absl::StatusOr<luo::LiveUpdateSession> session = environment_.sessions->Retrieve(entry.session);
  if (session.ok()) {
    vm.session = *std::move(session);
    return Launch(entry, vm);
  }
  // A process that an earlier luod started has the session (kInvalidArgument), or has finished it
  // (kNotFound).
  if (absl::IsInvalidArgument(session.status()) || absl::IsNotFound(session.status())) {
    vm.deadline = Deadline(entry);
    return;
  }
  vm.failure = std::string(session.status().message());
  environment_.log(absl::StrCat("VM ", entry.name, " failed: ", vm.failure));
}

void Restore::Launch(const ManifestVm& entry, Vm& vm) {
  vm.failure.clear();
  vm.deadline.reset();
  vm.pid = 0;
  absl::StatusOr<pid_t> pid = environment_.spawner->Spawn(entry.resume_argv, vm.session->fd());
  if (!pid.ok()) {
    vm.failure = std::string(pid.status().message());
    environment_.log(absl::StrCat("VM ", entry.name, " failed: ", vm.failure));
    return;
  }
  vm.pid = *pid;
  vm.deadline = Deadline(entry);
  environment_.log(absl::StrCat("VM ", entry.name, " is resumed by process ", vm.pid));
}

void Restore::OnResumed(absl::string_view name, uint64_t run_tsc) {
  if (!IsPending(name)) return;
  ManifestVm& entry = *manifest_->Find(name);
  entry.run_tsc = run_tsc;
  environment_.log(absl::StrCat("VM ", name, " runs"));
  Settle(entry, Outcome::kResumed);
}

void Restore::OnChildExit(pid_t pid, int wait_status) {
  for (auto& [name, vm] : vms_) {
    if (vm.pid != pid) continue;
    vm.pid = 0;
    vm.deadline.reset();
    vm.failure = HowItEnded(wait_status);
    environment_.log(absl::StrCat("VM ", name, " failed: ", vm.failure,
                                  "; its session is kept, try "
                                  "luoctl retry ",
                                  name));
    return;
  }
}

void Restore::OnTick() {
  for (auto& [name, vm] : vms_) {
    if (!vm.deadline.has_value() || environment_.clock->Now() < *vm.deadline) continue;
    vm.deadline.reset();
    if (vm.pid == 0 && vm.session.has_value()) {
      Launch(*manifest_->Find(name), vm);
      continue;
    }
    vm.failure = vm.pid == 0
                     ? "an earlier luod started it, and it did not register"
                     : absl::StrCat("process ", vm.pid,
                                    " resumes it and has not registered in time; if it hangs, "
                                    "kill it and try luoctl retry");
    environment_.log(absl::StrCat("VM ", name, " failed: ", vm.failure));
  }
}

absl::Status Restore::Retry(absl::string_view name) {
  if (!IsPending(name)) return absl::NotFoundError(absl::StrCat("no VM ", name, " awaits resume"));
  ManifestVm& entry = *manifest_->Find(name);
  Vm& vm = vms_[entry.name];
  if (vm.failure.empty()) {
    return absl::FailedPreconditionError(
        vm.pid == 0 ? absl::StrCat("VM ", name, " is being resumed")
                    : absl::StrCat("VM ", name, " is being resumed, by process ", vm.pid));
  }
  vm.failure.clear();
  if (vm.session.has_value()) {
    Launch(entry, vm);
  } else {
    StartVm(entry);
  }
  if (!vm.failure.empty()) return absl::UnavailableError(vm.failure);
  return absl::OkStatus();
}

absl::Status Restore::Abandon(absl::string_view name) {
  if (!IsPending(name)) return absl::NotFoundError(absl::StrCat("no VM ", name, " awaits resume"));
  ManifestVm& entry = *manifest_->Find(name);
  if (vms_[entry.name].failure.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat("VM ", name, " is being resumed; end its process first"));
  }
  environment_.log(absl::StrCat("VM ", name, " is given up"));
  Settle(entry, Outcome::kAbandoned);
  return absl::OkStatus();
}

void Restore::Settle(ManifestVm& entry, Outcome outcome) {
  entry.outcome = outcome;
  Save();
  vms_.erase(entry.name);  // closes luod's hold on the session
  if (pending() || !manifest_session_.has_value()) return;
  absl::Status finished = environment_.sessions->Finish(*manifest_session_);
  if (!finished.ok()) environment_.log(std::string(finished.message()));
  manifest_session_.reset();
  environment_.log("every VM of the update is dealt with");
}

void Restore::Save() {
  absl::Status saved = SaveManifest(environment_.manifest_path, *manifest_);
  // The guests matter more than the record: go on.
  if (!saved.ok()) environment_.log(std::string(saved.message()));
}

bool Restore::resuming() const {
  return std::any_of(vms_.begin(), vms_.end(),
                     [](const auto& vm) { return vm.second.failure.empty(); });
}

bool Restore::IsPending(absl::string_view name) const { return vms_.contains(std::string(name)); }

std::vector<VmStatus> Restore::PendingStatus() const {
  std::vector<VmStatus> all;
  if (!manifest_.has_value()) return all;
  for (const ManifestVm& entry : manifest_->vms) {
    auto vm = vms_.find(entry.name);
    if (vm == vms_.end()) continue;
    VmStatus status = ReportOf(entry, manifest_->tsc_khz);
    status.state = vm->second.failure.empty() ? "resuming" : "failed";
    status.detail = vm->second.failure;
    status.pid = vm->second.pid;
    all.push_back(std::move(status));
  }
  return all;
}

}  // namespace vmm
