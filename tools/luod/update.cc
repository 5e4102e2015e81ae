#include "tools/luod/update.h"

#include <errno.h>
#include <fcntl.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "vmm/live_update/tokens.h"

namespace vmm {
namespace {

// Disks at rest take seconds.
constexpr std::chrono::minutes kSyncTimeout{2};

}  // namespace

Update::Update(Environment environment, UpgradeRequest request,
               std::chrono::milliseconds vm_timeout, UniqueFd kernel, UniqueFd initrd,
               const std::vector<VmPeer*>& peers)
    : environment_(std::move(environment)),
      request_(std::move(request)),
      vm_timeout_(vm_timeout),
      kernel_(std::move(kernel)),
      initrd_(std::move(initrd)) {
  manifest_.generation = environment_.generation;
  manifest_.old_kernel = environment_.old_kernel;
  for (VmPeer* peer : peers) {
    const RegisterRequest& registration = peer->registration();
    vms_.push_back({.peer = peer, .name = registration.name, .awaits = {}, .session = {}});
    manifest_.vms.push_back({.name = registration.name,
                             .session = VmSessionName(registration.name),
                             .resume_argv = registration.resume_argv,
                             .vcpus = registration.vcpus,
                             .memory_bytes = registration.memory_bytes});
  }
}

void Update::Start() {
  manifest_.check_tsc = environment_.clock->Tsc();
  Tell(absl::StrCat("loading the kernel, asking ", vms_.size(), " VMs"));
  absl::Status status = Check();
  if (!status.ok()) return Undo(Annotate(status, "check"));
  deadline_ = environment_.clock->Now() + vm_timeout_;
  for (Vm& vm : vms_) {
    status = environment_.host->CheckProgram(vm.peer->registration().resume_argv[0]);
    if (status.ok()) status = Ask(vm, Message{.type = MessageType::kPing});
    if (!status.ok()) return UndoFor(vm, status);
  }
  if (!Awaiting()) Advance();
}

absl::Status Update::Check() {
  RETURN_IF_ERROR(environment_.host->CheckKernel(kernel_.get()));
  if (!vms_.empty()) {
    RETURN_IF_ERROR(environment_.host->CheckCommandLine(request_.command_line));
  }
  return environment_.kexec->Load(kernel_.get(), initrd_.get(), request_.command_line);
}

// What is preserved is allocated before. Where the host has no room the kernel would kill somebody,
// most likely a VM.
absl::Status Update::CheckMemory() {
  if (missing_bytes_ == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(const uint64_t available, environment_.host->AvailableMemory());
  if (missing_bytes_ <= available) return absl::OkStatus();
  return absl::ResourceExhaustedError(
      absl::StrCat("guests have ", missing_bytes_ >> 20,
                   " MiB of memory that they have not touched yet and that has to be allocated, "
                   "and the host has ",
                   available >> 20, " MiB left"));
}

void Update::GoOn() {
  ready_ = false;
  return phase_ == Phase::kPrepare ? BeginFreeze() : Execute();
}

void Update::Advance() {
  switch (phase_) {
    case Phase::kCheck:
      return BeginPrepare();
    case Phase::kPrepare:
      return EndPrepare();
    case Phase::kFreeze:
      return EndFreeze();
    case Phase::kKexec:
    case Phase::kCancel:
    case Phase::kDone:
      return;
  }
}

// What preserving may take beyond what any answer may: holes are filled, and each folio is pinned.
// No guest waits for it. Memory is zeroed at some GiB a second.
std::chrono::seconds Update::PreservingTime(const std::vector<Vm>& vms) {
  constexpr uint64_t kBytesPerSecond = uint64_t{1} << 30;
  uint64_t bytes = 0;
  for (const Vm& vm : vms) {
    if (vm.peer != nullptr) bytes += vm.peer->registration().memory_bytes;
  }
  return std::chrono::seconds(bytes / kBytesPerSecond);
}

void Update::BeginPrepare() {
  absl::Status room = CheckMemory();
  if (!room.ok()) return Undo(Annotate(room, "check"));
  if (request_.check_only) {
    result_ = environment_.kexec->Unload();
    phase_ = Phase::kDone;
    return;
  }
  phase_ = Phase::kPrepare;
  manifest_.prepare_tsc = environment_.clock->Tsc();
  Tell("guests run, their memory is being preserved");
  deadline_ = environment_.clock->Now() + vm_timeout_ + PreservingTime(vms_);
  for (size_t i = 0; i < vms_.size(); ++i) {
    Vm& vm = vms_[i];
    absl::StatusOr<luo::LiveUpdateSession> session =
        environment_.sessions->Create(manifest_.vms[i].session);
    if (!session.ok()) return UndoFor(vm, session.status());
    vm.session = *std::move(session);
    UniqueFd copy(fcntl(vm.session->fd(), F_DUPFD_CLOEXEC, 0));
    if (!copy.valid()) return UndoFor(vm, ErrnoStatus(errno, "duplicate its session"));
    Message message{.type = MessageType::kPrepare};
    message.fds.push_back(std::move(copy));
    absl::Status sent = Ask(vm, std::move(message));
    if (!sent.ok()) return UndoFor(vm, sent);
    vm.prepared = true;
  }
  if (!Awaiting()) Advance();
}

void Update::EndPrepare() {
  absl::Status status = PreserveManifest();
  if (!status.ok()) return Undo(Annotate(status, "prepare"));
  if (request_.rehearse) {
    Tell("memory was preserved; a rehearsal ends here");
    return Undo(absl::OkStatus());
  }
  Tell("memory is preserved, writing back the host's file systems");
  status = environment_.host->Sync(kSyncTimeout);
  if (!status.ok()) return Undo(Annotate(status, "prepare"));
  deadline_ = environment_.clock->Now() + vm_timeout_;
  ready_ = true;
}

absl::Status Update::PreserveManifest() {
  ASSIGN_OR_RETURN(manifest_file_, WriteManifest(manifest_));
  absl::StatusOr<luo::LiveUpdateSession> session = environment_.sessions->Create(kManifestSession);
  if (!session.ok()) return session.status();
  manifest_session_ = *std::move(session);
  return environment_.sessions->Preserve(*manifest_session_, manifest_file_.get(), kManifestToken);
}

void Update::BeginFreeze() {
  phase_ = Phase::kFreeze;
  Tell("pausing the guests");
  deadline_ = environment_.clock->Now() + vm_timeout_;
  manifest_.freeze_tsc = environment_.clock->Tsc();
  for (Vm& vm : vms_) {
    absl::Status sent = Ask(vm, Message{.type = MessageType::kFreeze});
    if (!sent.ok()) return UndoFor(vm, sent);
  }
  if (!Awaiting()) Advance();
}

// A VM that let its guest run again has closed its connection first: that is heard before GoOn().
void Update::EndFreeze() { ready_ = true; }

// Guests stand still.
void Update::Execute() {
  phase_ = Phase::kKexec;
  Tell("guests are frozen, starting the new kernel");
  manifest_.tsc_khz = environment_.clock->TscKhz();
  manifest_.kexec_tsc = environment_.clock->Tsc();
  absl::Status status = RewriteManifest(manifest_file_.get(), manifest_);
  if (!status.ok()) return Undo(Annotate(status, "kexec"));
  Undo(Annotate(environment_.kexec->Execute(), "kexec"));
}

void Update::OnAnswer(VmPeer* peer, const Message& answer) {
  if (done()) return;
  for (size_t i = 0; i < vms_.size(); ++i) {
    Vm& vm = vms_[i];
    if (vm.peer != peer || vm.awaits != answer.request) continue;
    vm.awaits.reset();
    if (phase_ == Phase::kCancel) return EndIfNothingAwaited();
    absl::Status status = TakeAnswer(i, answer);
    if (!status.ok()) return UndoFor(vm, status);
    if (!Awaiting()) Advance();
    return;
  }
}

absl::Status Update::TakeAnswer(size_t index, const Message& answer) {
  RETURN_IF_ERROR(StatusOfAnswer(answer));
  ManifestVm& entry = manifest_.vms[index];
  if (phase_ == Phase::kCheck) {
    ASSIGN_OR_RETURN(PingReply reply, PingReply::FromTree(answer.body));
    missing_bytes_ += reply.missing_bytes;
  } else if (phase_ == Phase::kPrepare) {
    ASSIGN_OR_RETURN(PrepareReply reply, PrepareReply::FromTree(answer.body));
    entry.prepare_ns = reply.duration_ns;
  } else if (phase_ == Phase::kFreeze) {
    ASSIGN_OR_RETURN(FreezeReply reply, FreezeReply::FromTree(answer.body));
    entry.freeze_ns = reply.duration_ns;
    entry.state_bytes = reply.state_bytes;
    entry.pause_tsc = reply.pause_tsc;
  }
  return absl::OkStatus();
}

void Update::OnGone(VmPeer* peer) {
  for (Vm& vm : vms_) {
    if (vm.peer != peer) continue;
    vm.peer = nullptr;
    vm.awaits.reset();
    if (phase_ == Phase::kCancel) return EndIfNothingAwaited();
    if (!done()) UndoFor(vm, absl::UnavailableError("the VM's process is gone"));
    return;
  }
}

void Update::OnTick() {
  if (done() || environment_.clock->Now() < deadline_) return;
  if (ready_) return Undo(absl::DeadlineExceededError("luod's callers leave it no moment for it"));
  if (!Awaiting()) return;
  absl::Status silence = absl::DeadlineExceededError(
      absl::StrCat(phase_name(), ": VM ", AwaitedNames(), " did not answer within ",
                   vm_timeout_.count(), " ms"));
  if (phase_ != Phase::kCancel) return Undo(silence);
  AddToResult(silence);
  phase_ = Phase::kDone;
}

void Update::Cancel(absl::string_view why) {
  if (phase_ != Phase::kCancel && !done()) Undo(absl::CancelledError(why));
}

void Update::UndoFor(const Vm& vm, const absl::Status& why) {
  Undo(Annotate(why, absl::StrCat(phase_name(), ": VM ", vm.name)));
}

void Update::Undo(absl::Status result) {
  result_ = std::move(result);
  phase_ = Phase::kCancel;
  ready_ = false;
  if (!result_.ok()) Tell(result_.message());
  manifest_session_.reset();
  deadline_ = environment_.clock->Now() + vm_timeout_;
  // The guests first: what follows does not concern them.
  for (Vm& vm : vms_) {
    vm.session.reset();
    vm.awaits.reset();
    // One that cannot be told has a broken connection, which tells it the same.
    if (vm.prepared && vm.peer != nullptr)
      Ask(vm, Message{.type = MessageType::kCancel}).IgnoreError();
  }
  AddToResult(environment_.kexec->Unload());
  EndIfNothingAwaited();
}

void Update::AddToResult(const absl::Status& status) {
  if (status.ok()) return;
  result_ = result_.ok() ? status
                         : absl::Status(result_.code(),
                                        absl::StrCat(result_.message(), "; ", status.message()));
}

void Update::EndIfNothingAwaited() {
  if (!Awaiting()) phase_ = Phase::kDone;
}

absl::Status Update::Ask(Vm& vm, Message message) {
  message.request = next_request_++;
  RETURN_IF_ERROR(vm.peer->Send(message));
  vm.awaits = message.request;
  return absl::OkStatus();
}

bool Update::Awaiting() const {
  return std::any_of(vms_.begin(), vms_.end(), [](const Vm& vm) { return vm.awaits.has_value(); });
}

std::string Update::AwaitedNames() const {
  std::vector<std::string> names;
  for (const Vm& vm : vms_) {
    if (vm.awaits.has_value()) names.push_back(vm.name);
  }
  return absl::StrJoin(names, ", ");
}

absl::string_view Update::phase_name() const {
  switch (phase_) {
    case Phase::kCheck:
      return "check";
    case Phase::kPrepare:
      return "prepare";
    case Phase::kFreeze:
      return "freeze";
    case Phase::kKexec:
      return "kexec";
    case Phase::kCancel:
      return "cancel";
    case Phase::kDone:
      return "done";
  }
  return "";
}

void Update::Tell(absl::string_view text) {
  environment_.progress(Progress{.phase = std::string(phase_name()), .text = std::string(text)});
}

}  // namespace vmm
