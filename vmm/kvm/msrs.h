// A vCPU's MSRs, read and written in batches. Private to vmm/kvm.
#ifndef VMM_KVM_MSRS_H_
#define VMM_KVM_MSRS_H_

#include <linux/kvm.h>
#include <stdint.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "vmm/kvm/vcpu.h"

namespace vmm {

struct MsrValues {
  std::vector<kvm_msr_entry> values;
  // Those of the asked for that this vCPU doesn't have: KVM's lists are of the whole host.
  std::vector<uint32_t> unreadable;
};

absl::StatusOr<MsrValues> ReadMsrs(const Vcpu& vcpu, absl::Span<const uint32_t> indices);

// Writes in the order given. KVM may refuse a value that the vCPU has already (a constant of the
// processor) or a zero (the MSR doesn't exist, which the guest sees as no different from never
// having used it); any other refused value is kFailedPrecondition and names the MSR.
absl::Status WriteMsrs(const Vcpu& vcpu, absl::Span<const kvm_msr_entry> values);

}  // namespace vmm

#endif  // VMM_KVM_MSRS_H_
