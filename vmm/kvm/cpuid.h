// The CPUID that a guest's vCPU shows: what KVM supports, less what would not survive an update or
// is not emulated whole, with the VM's own topology.
//
//   ASSIGN_OR_RETURN(std::vector<kvm_cpuid_entry2> supported, kvm.SupportedCpuid());
//   RETURN_IF_ERROR(vcpu.SetCpuid(GuestCpuid(supported, {.vcpu_id = 0, .vcpu_count = 4})));
//
// Topology: one package of `vcpu_count` cores of one thread; vCPU n has APIC ID n; L1 and L2 caches
// are a core's own, the last level is the package's.
//
// Hidden though KVM supports it:
//   VMX, SVM         nested state is not saved
//   SHSTK, IBT       the shadow-stack pointer is in none of the state that vcpu_state.h saves
//   PMU              counters belong to a physical processor and count nothing across a kexec
//   MONITOR/MWAIT    KVM emulates them as NOPs, a guest that idles with them burns a host CPU
//   ASYNC_PF*        KVM's "page ready" tokens in flight die with the old kernel, and the guest's
//                    tasks that sleep on them would never wake
//   supervisor XSAVE state (IA32_XSS): KVM_GET_XSAVE2 doesn't give it
// and every KVM paravirtual feature that is not known here. XSAVE is offered as cpuid_xsave.h says.
//
// Leaves and bits are of the Intel SDM vol. 2A (CPUID), the AMD APM vol. 3 appendix E, and Linux's
// Documentation/virt/kvm/x86/cpuid.rst. Pure functions of their input.
#ifndef VMM_KVM_CPUID_H_
#define VMM_KVM_CPUID_H_

#include <linux/kvm.h>
#include <stdint.h>

#include <vector>

#include "absl/types/span.h"

namespace vmm {

struct CpuidTopology {
  uint32_t vcpu_id = 0;  // less than vcpu_count
  uint32_t vcpu_count = 1;
};

std::vector<kvm_cpuid_entry2> GuestCpuid(absl::Span<const kvm_cpuid_entry2> supported,
                                         const CpuidTopology& topology);

}  // namespace vmm

#endif  // VMM_KVM_CPUID_H_
