// Kvm: /dev/kvm, opened and found good enough to save and restore a guest whole.
//
//   ASSIGN_OR_RETURN(Kvm kvm, Kvm::Open());
//   ASSIGN_OR_RETURN(KvmVm vm, KvmVm::Create(kvm));
//   ASSIGN_OR_RETURN(std::vector<uint32_t> msrs, kvm.SavableMsrs());
//
// Owns the file descriptor; a VM created from it does not need it to live on. All methods are const
// and may be called from any thread. The ioctls and capabilities are those of the Linux kernel's
// Documentation/virt/kvm/api.rst; the capabilities asked for are there since Linux 6.1.
#ifndef VMM_KVM_KVM_H_
#define VMM_KVM_KVM_H_

#include <linux/kvm.h>
#include <stddef.h>
#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace vmm {

// The most CPUID entries that KVM takes or gives (KVM_MAX_CPUID_ENTRIES in Linux 7.3,
// arch/x86/include/asm/kvm_host.h).
inline constexpr size_t kMaxCpuidEntries = 256;

class Kvm {
 public:
  // kNotFound or kPermissionDenied, with what to do about it, where `path` cannot be opened;
  // kFailedPrecondition where it lacks something, named.
  static absl::StatusOr<Kvm> Open(const std::string& path = "/dev/kvm");

  int fd() const { return fd_.get(); }
  // The size of the mapping that a vCPU's fd offers.
  size_t vcpu_mapping_size() const { return vcpu_mapping_size_; }
  // How many vCPUs one VM may have.
  uint32_t MaxVcpus() const;

  // What KVM can give a guest. GuestCpuid() (cpuid.h) makes a vCPU's CPUID from it.
  absl::StatusOr<std::vector<kvm_cpuid_entry2>> SupportedCpuid() const;

  // The MSRs in which a vCPU keeps state: what KVM lists, and the MTRRs and machine-check banks
  // that it holds without listing them. Left out are those that a guest of ours cannot use
  // (Hyper-V, VMX) and those whose value is not state: TSC (its offset is saved instead) and the
  // kvmclock's wall clock, a write to which is a command that makes KVM write into guest memory,
  // which by now may hold something else.
  absl::StatusOr<std::vector<uint32_t>> SavableMsrs() const;

 private:
  Kvm(UniqueFd fd, size_t vcpu_mapping_size)
      : fd_(std::move(fd)), vcpu_mapping_size_(vcpu_mapping_size) {}

  UniqueFd fd_;
  size_t vcpu_mapping_size_;
};

}  // namespace vmm

#endif  // VMM_KVM_KVM_H_
