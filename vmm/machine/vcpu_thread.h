// VcpuThread: one vCPU on a thread of its own: runs it, answers its exits from the buses, pauses
// and goes on.
//
//   VcpuThread thread(std::move(vcpu), on_end);
//   thread.Start(&pio, &mmio);  // begins paused
//   thread.Resume();            // the guest runs
//   thread.RequestPause();      // all of them first, then
//   thread.WaitUntilPaused();   // no guest instruction runs, no exit is half done: to be saved
//
// RequestPause, WaitUntilPaused and Resume are called by one controlling thread at a time; vcpu()
// is the controller's while paused and the thread's while running.
#ifndef VMM_MACHINE_VCPU_THREAD_H_
#define VMM_MACHINE_VCPU_THREAD_H_

#include <condition_variable>
#include <functional>
#include <mutex>
#include <thread>

#include "absl/status/status.h"
#include "devices/bus.h"
#include "vmm/kvm/vcpu.h"
#include "vmm/machine/end.h"

namespace vmm {

class VcpuThread {
 public:
  // `on_end` is called on the vCPU's thread when the guest cannot go on. The thread then stays
  // paused for good.
  VcpuThread(Vcpu vcpu, std::function<void(MachineEnd)> on_end);
  ~VcpuThread();  // stops and joins
  VcpuThread(const VcpuThread&) = delete;
  VcpuThread& operator=(const VcpuThread&) = delete;

  // Both buses outlive the thread. Fails where the host has no thread left.
  absl::Status Start(const Bus* pio, const Bus* mmio);
  void RequestPause();
  void WaitUntilPaused();
  void Resume();
  // Returns once the thread is about to enter the guest for the first time after the last Resume().
  void WaitUntilRunning();

  Vcpu& vcpu() { return vcpu_; }

 private:
  enum class Wish { kPause, kRun, kStop };
  enum class State { kPaused, kRunning };

  void Main();
  // Runs the guest until it is kicked or ends; false when it has ended.
  bool RunUntilKicked();
  // Answers the exit in kvm_run; false when the guest has ended.
  bool HandleExit();
  // Both report the machine's end, and return false.
  bool Fail(const absl::Status& status);
  bool End(MachineEnd::Reason reason, std::string detail);
  void Kick();

  Vcpu vcpu_;
  const std::function<void(MachineEnd)> on_end_;
  const Bus* pio_ = nullptr;
  const Bus* mmio_ = nullptr;
  std::mutex mutex_;
  std::condition_variable changed_;
  Wish wish_ = Wish::kPause;      // guarded by mutex_
  State state_ = State::kPaused;  // guarded by mutex_
  bool ended_ = false;            // guarded by mutex_
  std::thread thread_;
};

}  // namespace vmm

#endif  // VMM_MACHINE_VCPU_THREAD_H_
