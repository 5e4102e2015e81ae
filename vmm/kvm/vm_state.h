// What KVM holds of a VM beside its vCPUs: interrupt controllers, PIT and clock, as a Tree node.
//
//   ASSIGN_OR_RETURN(Tree node, SaveVm(vm));                  // all vCPUs paused
//   for (...) SaveVcpu(vcpu, msrs);                           // after the VM, see below
//   ...
//   ASSIGN_OR_RETURN(SavedClock saved, SavedClockOf(node));
//   ContinuedClock clock = ContinueClock(saved, HostTime::Now());
//   for (...) RestoreVcpu(vcpu, vcpu_node, clock.tsc_offset_delta);
//   RETURN_IF_ERROR(RestoreVm(vm, node, clock));              // after all vCPUs, before any runs
//
// The node, ABI: "vm", compatible "vmm,kvm-vm-v1", and
//
//   pic-master, pic-slave, ioapic  kvm_irqchip       pit          kvm_pit_state2
//   kvmclock-ns                    u64               tsc-khz      u32, the host's
//   host-tsc, host-realtime-ns     u64, when the kvmclock was read
//
// where the structures are those of <linux/kvm.h> for x86-64. The PIT's channels begin their
// current period anew. An interrupt that is asserted is pending again, but KVM has forgotten by
// whom: after restoring, each level-triggered device drives its line once to the level that it has.
//
// Saved before the vCPUs: the PIT or another thread may raise an interrupt meanwhile. What the
// IOAPIC sends after it was saved is pending in a LAPIC that is yet to be saved; a device that
// raises its line again when it is restored sends it at worst once more. A level-triggered one that
// was sent after the LAPICs were saved would be lost, and its line with it: the saved IOAPIC would
// wait for an EOI that nobody sends.
//
// One thread at a time; no vCPU runs meanwhile.
#ifndef VMM_KVM_VM_STATE_H_
#define VMM_KVM_VM_STATE_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tree.h"
#include "vmm/kvm/guest_clock.h"
#include "vmm/kvm/kvm_vm.h"

namespace vmm {

absl::StatusOr<Tree> SaveVm(const KvmVm& vm);

// kInvalidArgument or kNotFound for a node of another make or shape.
absl::StatusOr<SavedClock> SavedClockOf(const Tree& node);
absl::Status RestoreVm(const KvmVm& vm, const Tree& node, const ContinuedClock& clock);

}  // namespace vmm

#endif  // VMM_KVM_VM_STATE_H_
