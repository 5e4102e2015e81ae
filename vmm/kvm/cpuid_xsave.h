// Makes what a CPUID table says about XSAVE agree with itself. Private to vmm/kvm.
//
// A guest that finds leaf 0xD at odds with itself gives XSAVE up or dies early (Linux 7.3,
// arch/x86/kernel/fpu/xstate.c: fpu__init_system_xstate(), paranoid_xstate_size_valid()), and a
// host that is itself a guest of an imperfect emulator may show it so. Checked is what such a guest
// checks:
//   - x87 and SSE are among the state components, and XSAVE in leaf 1 says that there are any;
//   - each component has a sub-leaf, the architecture's size, and lies past the XSAVE header;
//   - the sizes of all of them, in sub-leaves 0 (ECX) and 1 (EBX), follow from the components.
// A component that fails is withdrawn with all it is useless without and all features that need it;
// when x87 or SSE fail, XSAVE is. Then the sizes are computed anew. Components managed by IA32_XSS
// are withdrawn always: KVM_GET_XSAVE2 doesn't give them.
//
// Leaf 0xD's EBX counts what is switched on in XCR0 just now; KVM keeps it, from here it starts
// with x87 alone, as at reset.
#ifndef VMM_KVM_CPUID_XSAVE_H_
#define VMM_KVM_CPUID_XSAVE_H_

#include <linux/kvm.h>

#include <vector>

namespace vmm {

void MakeXsaveConsistent(std::vector<kvm_cpuid_entry2>* entries);

}  // namespace vmm

#endif  // VMM_KVM_CPUID_XSAVE_H_
