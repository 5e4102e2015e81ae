// Whether a host can run a guest that was started on another (or under another kernel): the guest
// has seen its CPUID and relies on it.
//
//   ASSIGN_OR_RETURN(std::vector<kvm_cpuid_entry2> recorded, SavedCpuid(node));
//   ASSIGN_OR_RETURN(std::vector<kvm_cpuid_entry2> supported, kvm.SupportedCpuid());
//   RETURN_IF_ERROR(CheckCpuidOffered(recorded, supported));
//
// One vCPU of a VM stands for all. A pure function.
#ifndef VMM_KVM_CPUID_CHECK_H_
#define VMM_KVM_CPUID_CHECK_H_

#include <linux/kvm.h>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace vmm {

// kFailedPrecondition, naming leaf, register and bits, where `recorded` has a feature that
// `supported` lacks, the processor's vendor is another, guest-physical addresses are narrower, or
// the XSAVE area is laid out otherwise.
absl::Status CheckCpuidOffered(absl::Span<const kvm_cpuid_entry2> recorded,
                               absl::Span<const kvm_cpuid_entry2> supported);

}  // namespace vmm

#endif  // VMM_KVM_CPUID_CHECK_H_
