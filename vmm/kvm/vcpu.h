// Vcpu: one virtual processor of KVM: its file descriptor and its shared kvm_run page.
//
//   ASSIGN_OR_RETURN(RunResult result, vcpu.Run());
//   if (result == RunResult::kExit && vcpu.run().exit_reason == KVM_EXIT_IO) {
//     pio.Write(vcpu.run().io.port, vcpu.PioData());
//   }
//
// To pause: another thread calls RequestExit() and sends the vCPU's thread a signal with a handler
// that does nothing; Run() then returns kInterrupted. The exit handled last may still be half done:
// a port read has been answered in kvm_run, but the guest's register is only written when the vCPU
// is entered again (Documentation/virt/kvm/api.rst, KVM_EXIT_IO). So before saving:
//
//   ASSIGN_OR_RETURN(RunResult result, vcpu.CompletePendingExit());
//   // kExit: the operation had a further part; handle it as an exit and call again
//   // kInterrupted: complete; the vCPU's state may be read
//
// Owns fd and mapping. One thread at a time uses a Vcpu, except for RequestExit().
#ifndef VMM_KVM_VCPU_H_
#define VMM_KVM_VCPU_H_

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"

namespace vmm {

enum class RunResult {
  kExit,         // run() says what the guest wants
  kInterrupted,  // a signal or RequestExit() (EINTR)
  kRetry,        // the vCPU was woken from waiting for INIT: run it again (EAGAIN)
};

class Vcpu {
 public:
  // Takes a vCPU of KVM_CREATE_VCPU over; KvmVm::CreateVcpu() does this. Sizes are in bytes.
  static absl::StatusOr<Vcpu> FromFd(uint32_t id, UniqueFd fd, size_t mapping_size,
                                     size_t xsave_size);

  Vcpu(Vcpu&& other) noexcept;
  Vcpu& operator=(Vcpu&& other) noexcept;
  ~Vcpu();

  uint32_t id() const { return id_; }
  int fd() const { return fd_.get(); }
  // Bytes of KVM_GET_XSAVE2's answer (KVM_CAP_XSAVE2 of the VM).
  size_t xsave_size() const { return xsave_size_; }

  absl::StatusOr<RunResult> Run() const;
  // Runs no guest code. An exit request is pending afterwards.
  absl::StatusOr<RunResult> CompletePendingExit() const;
  // Makes the present or next Run() return soon, from any thread, a signal handler too. Stays until
  // cleared.
  void RequestExit() const { SetImmediateExit(1); }
  void ClearExitRequest() const { SetImmediateExit(0); }

  // The exit's details, written by KVM; valid until the next Run().
  kvm_run& run() const { return *run_; }
  // On KVM_EXIT_IO: `count` items of `size` bytes, to be written or filled in.
  absl::Span<uint8_t> PioData() const;

  // Once, before the vCPU first runs. The guest gets none of KVM's paravirtual interfaces but those
  // that leaf 0x40000001 of `entries` offers.
  absl::Status SetCpuid(absl::Span<const kvm_cpuid_entry2> entries);
  // What was set; empty before. Not asked of KVM: it mixes in what the guest has switched on, and a
  // paravirtual KVM answers with another table altogether.
  const std::vector<kvm_cpuid_entry2>& cpuid() const { return cpuid_; }

  absl::StatusOr<kvm_regs> GetRegs() const;
  absl::Status SetRegs(const kvm_regs& regs) const;
  absl::StatusOr<kvm_sregs> GetSregs() const;
  absl::Status SetSregs(const kvm_sregs& sregs) const;

  // Tells a guest that uses the kvmclock that it was stopped, so that its soft-lockup watchdog
  // forgives the gap. To be called after any pause before the vCPU runs again.
  absl::Status NotifyPaused() const;

 private:
  Vcpu(uint32_t id, UniqueFd fd, size_t xsave_size, size_t mapping_size, kvm_run* run)
      : id_(id),
        fd_(std::move(fd)),
        xsave_size_(xsave_size),
        mapping_size_(mapping_size),
        run_(run) {}

  void SetImmediateExit(uint8_t value) const;

  uint32_t id_;
  UniqueFd fd_;
  size_t xsave_size_;
  size_t mapping_size_;
  kvm_run* run_;
  std::vector<kvm_cpuid_entry2> cpuid_;
};

}  // namespace vmm

#endif  // VMM_KVM_VCPU_H_
