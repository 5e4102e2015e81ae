#include "vmm/machine/vcpu_thread.h"

#include <linux/kvm.h>
#include <pthread.h>
#include <signal.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/thread.h"

namespace vmm {
namespace {

// Delivered to a vCPU's thread to bring it out of KVM_RUN; its handler does nothing.
int KickSignal() { return SIGRTMIN; }

void InstallKickHandler() {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  sigaction(KickSignal(), &action, nullptr);
}

// In the calling thread, whatever mask it was born with.
void UnblockKicks() {
  sigset_t kick;
  sigemptyset(&kick);
  sigaddset(&kick, KickSignal());
  pthread_sigmask(SIG_UNBLOCK, &kick, nullptr);
}

}  // namespace

VcpuThread::VcpuThread(Vcpu vcpu, std::function<void(MachineEnd)> on_end)
    : vcpu_(std::move(vcpu)), on_end_(std::move(on_end)) {}

VcpuThread::~VcpuThread() {
  if (!thread_.joinable()) return;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    wish_ = Wish::kStop;
  }
  Kick();
  changed_.notify_all();
  thread_.join();
}

absl::Status VcpuThread::Start(const Bus* pio, const Bus* mmio) {
  pio_ = pio;
  mmio_ = mmio;
  InstallKickHandler();
  ASSIGN_OR_RETURN(thread_, StartThread([this] { Main(); }));
  return absl::OkStatus();
}

void VcpuThread::RequestPause() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    wish_ = Wish::kPause;
  }
  Kick();
}

void VcpuThread::WaitUntilPaused() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return state_ == State::kPaused; });
}

void VcpuThread::Resume() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    wish_ = Wish::kRun;
  }
  changed_.notify_all();
}

void VcpuThread::WaitUntilRunning() {
  std::unique_lock<std::mutex> lock(mutex_);
  changed_.wait(lock, [this] { return state_ == State::kRunning || ended_; });
}

// immediate_exit closes the gap between the last look at wish_ and KVM_RUN: a kick that comes in it
// makes KVM_RUN return at once (Documentation/virt/kvm/api.rst, KVM_CAP_IMMEDIATE_EXIT).
void VcpuThread::Kick() {
  vcpu_.RequestExit();
  pthread_kill(thread_.native_handle(), KickSignal());
}

void VcpuThread::Main() {
  UnblockKicks();
  std::unique_lock<std::mutex> lock(mutex_);
  while (true) {
    state_ = State::kPaused;
    changed_.notify_all();
    changed_.wait(lock,
                  [this] { return wish_ == Wish::kStop || (wish_ == Wish::kRun && !ended_); });
    if (wish_ == Wish::kStop) return;
    vcpu_.ClearExitRequest();
    state_ = State::kRunning;
    changed_.notify_all();
    lock.unlock();
    const bool goes_on = RunUntilKicked();
    lock.lock();
    if (!goes_on) ended_ = true;
  }
}

bool VcpuThread::RunUntilKicked() {
  bool kicked = false;
  while (!kicked) {
    absl::StatusOr<RunResult> result = vcpu_.Run();
    if (!result.ok()) return Fail(result.status());
    if (*result == RunResult::kExit && !HandleExit()) return false;
    std::lock_guard<std::mutex> lock(mutex_);
    kicked = wish_ != Wish::kRun;
  }
  // An exit that was answered is finished only by the next KVM_RUN; state read before that would be
  // half done. A string instruction may have several parts.
  while (true) {
    absl::StatusOr<RunResult> result = vcpu_.CompletePendingExit();
    if (!result.ok()) return Fail(result.status());
    if (*result != RunResult::kExit) return true;
    if (!HandleExit()) return false;
  }
}

bool VcpuThread::HandleExit() {
  const kvm_run& run = vcpu_.run();
  switch (run.exit_reason) {
    case KVM_EXIT_IO: {
      absl::Span<uint8_t> data = vcpu_.PioData();
      for (; !data.empty(); data.remove_prefix(run.io.size)) {
        if (run.io.direction == KVM_EXIT_IO_IN) {
          pio_->Read(run.io.port, data.first(run.io.size));
        } else {
          pio_->Write(run.io.port, data.first(run.io.size));
        }
      }
      return true;
    }
    case KVM_EXIT_MMIO: {
      absl::Span<uint8_t> data(vcpu_.run().mmio.data, run.mmio.len);
      if (run.mmio.is_write) {
        mmio_->Write(run.mmio.phys_addr, data);
      } else {
        mmio_->Read(run.mmio.phys_addr, data);
      }
      return true;
    }
    case KVM_EXIT_SHUTDOWN:
      return End(MachineEnd::Reason::kTripleFault, "the guest triple-faulted");
    case KVM_EXIT_FAIL_ENTRY:
      return Fail(absl::InternalError(
          absl::StrCat("KVM could not enter the guest, hardware reason 0x",
                       absl::Hex(run.fail_entry.hardware_entry_failure_reason))));
    case KVM_EXIT_INTERNAL_ERROR:
      return Fail(absl::InternalError(
          absl::StrCat("KVM internal error, suberror ", run.internal.suberror)));
    default:
      return Fail(absl::InternalError(absl::StrCat("unexpected KVM exit ", run.exit_reason)));
  }
}

bool VcpuThread::Fail(const absl::Status& status) {
  return End(MachineEnd::Reason::kError, absl::StrCat("vCPU ", vcpu_.id(), ": ", status.message()));
}

bool VcpuThread::End(MachineEnd::Reason reason, std::string detail) {
  on_end_({reason, std::move(detail)});
  return false;
}

}  // namespace vmm
