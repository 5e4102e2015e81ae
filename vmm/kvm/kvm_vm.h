// KvmVm: one virtual machine of KVM: its memory slots, its in-kernel interrupt controllers, its
// vCPUs.
//
//   ASSIGN_OR_RETURN(KvmVm vm, KvmVm::Create(kvm));
//   RETURN_IF_ERROR(vm.CreateIrqchip({.tss = 0xfffbd000, .identity_map = 0xfffbc000}));
//   RETURN_IF_ERROR(vm.SetMemorySlot(0, 0, host_address, size));
//   ASSIGN_OR_RETURN(Vcpu vcpu, vm.CreateVcpu(0));
//   RETURN_IF_ERROR(vm.SetIrqLine(4, true));
//
// Owns the VM's file descriptor; the memory behind a slot is the caller's and must outlive the VM.
// Const methods may be called from any thread.
#ifndef VMM_KVM_KVM_VM_H_
#define VMM_KVM_KVM_VM_H_

#include <stddef.h>
#include <stdint.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/vcpu.h"

namespace vmm {

// Four pages of guest-physical address space that KVM takes for itself on Intel processors to run
// real-mode code: page-aligned, below 4 GiB, not in any memory slot, not told to the guest as RAM.
struct IrqchipAddresses {
  uint32_t tss = 0;           // three pages
  uint64_t identity_map = 0;  // one page
};

class KvmVm {
 public:
  // Switches on what makes vCPU events complete in a saved state (exception payloads, pending
  // triple faults) and switches the PMU off where KVM lets itself: CPUID hides it.
  static absl::StatusOr<KvmVm> Create(const Kvm& kvm);

  int fd() const { return fd_.get(); }

  // PIC, IOAPIC, a LAPIC for each vCPU, and PIT, wired as on a PC: GSI 0, the PIT's, reaches the
  // IOAPIC's input 2. Before any vCPU is created.
  absl::Status CreateIrqchip(const IrqchipAddresses& addresses) const;

  // Maps `size` bytes at `host_address` to guest-physical `guest_address`; all multiples of the
  // page size. A `size` of 0 removes the slot.
  absl::Status SetMemorySlot(uint32_t slot, uint64_t guest_address, void* host_address,
                             uint64_t size) const;

  // `id` is the vCPU's initial APIC ID as well.
  absl::StatusOr<Vcpu> CreateVcpu(uint32_t id) const;

  // Drives input `gsi` of the PIC and the IOAPIC.
  absl::Status SetIrqLine(uint32_t gsi, bool asserted) const;

 private:
  KvmVm(UniqueFd fd, size_t vcpu_mapping_size, size_t xsave_size)
      : fd_(std::move(fd)), vcpu_mapping_size_(vcpu_mapping_size), xsave_size_(xsave_size) {}

  absl::Status RouteAsOnAPc() const;

  UniqueFd fd_;
  size_t vcpu_mapping_size_;
  size_t xsave_size_;
};

}  // namespace vmm

#endif  // VMM_KVM_KVM_VM_H_
