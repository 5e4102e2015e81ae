// Everything that KVM holds of a vCPU, as a Tree node.
//
//   ASSIGN_OR_RETURN(Tree node, SaveVcpu(vcpu, msrs));            // msrs: Kvm::SavableMsrs()
//   ...
//   ASSIGN_OR_RETURN(std::vector<std::string> warnings,           // a vCPU that has never run
//                    RestoreVcpu(vcpu, node, clock.tsc_offset_delta));
//
// The node, ABI: "vcpu@<id in hexadecimal>", compatible "vmm,kvm-vcpu-v1", and
//
//   id           u32                          tsc-khz      u32, the guest's rate as measured
//   mp-state     u32, KVM_MP_STATE_*          tsc-offset   u64, guest TSC - host TSC
//   cpuid        kvm_cpuid_entry2[]           regs         kvm_regs
//   sregs        kvm_sregs2                   debugregs    kvm_debugregs
//   xcrs         kvm_xcrs                     xsave        what KVM_GET_XSAVE2 gives
//   lapic        kvm_lapic_state              events       kvm_vcpu_events
//   msrs         kvm_msr_entry[]              msrs-unreadable  u32[], for whoever reads a dump
//
// where the structures are those of <linux/kvm.h> for x86-64, as they lie in memory. Numbers are
// big-endian as in any Tree, but for msrs-unreadable.
//
// Not saved, because a guest whose CPUID is GuestCpuid()'s cannot have it: nested virtualization,
// shadow stacks, the PMU, asynchronous page faults.
//
// When to call. Save: the vCPU has stopped and its last exit is complete
// (Vcpu::CompletePendingExit()); no other vCPU runs. Restore: irqchip, memory slots and all vCPUs
// exist, for the kvmclock's page is looked up when its MSR is written; interrupt controllers of the
// VM are restored after all vCPUs (vm_state.h), for a pending interrupt then goes to the LAPICs.
// The vCPUs of a VM may be saved, and restored, in parallel.
#ifndef VMM_KVM_VCPU_STATE_H_
#define VMM_KVM_VCPU_STATE_H_

#include <linux/kvm.h>
#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"
#include "vmm/kvm/vcpu.h"

namespace vmm {

// Reads only, but for what KVM itself does when it is asked: a pending INIT or SIPI takes effect.
absl::StatusOr<Tree> SaveVcpu(const Vcpu& vcpu, absl::Span<const uint32_t> msrs);

// `tsc_offset_delta` (guest_clock.h) is added to the TSC offset, modulo 2^64. kInvalidArgument or
// kNotFound for a node of another make or shape; kFailedPrecondition for a value that this host
// cannot restore. After an error the vCPU is of no use. The strings returned say what is not
// exactly as it was though the guest can run.
absl::StatusOr<std::vector<std::string>> RestoreVcpu(Vcpu& vcpu, const Tree& node,
                                                     uint64_t tsc_offset_delta);

// The CPUID in a saved vCPU, for CheckCpuidOffered() (cpuid_check.h).
absl::StatusOr<std::vector<kvm_cpuid_entry2>> SavedCpuid(const Tree& node);

}  // namespace vmm

#endif  // VMM_KVM_VCPU_STATE_H_
