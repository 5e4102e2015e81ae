#include "vmm/kvm/kvm.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "vmm/kvm/ioctl.h"
#include "vmm/kvm/msr_index.h"

namespace vmm {
namespace {

struct Capability {
  int number;
  const char* name;
};
#define VMM_CAPABILITY(name) \
  { name, #name }
constexpr Capability kRequired[] = {
    VMM_CAPABILITY(KVM_CAP_USER_MEMORY),
    VMM_CAPABILITY(KVM_CAP_IMMEDIATE_EXIT),
    VMM_CAPABILITY(KVM_CAP_SET_TSS_ADDR),
    VMM_CAPABILITY(KVM_CAP_SET_IDENTITY_MAP_ADDR),
    VMM_CAPABILITY(KVM_CAP_IRQCHIP),
    VMM_CAPABILITY(KVM_CAP_IRQ_ROUTING),
    VMM_CAPABILITY(KVM_CAP_PIT2),
    VMM_CAPABILITY(KVM_CAP_PIT_STATE2),
    VMM_CAPABILITY(KVM_CAP_ADJUST_CLOCK),
    VMM_CAPABILITY(KVM_CAP_EXT_CPUID),
    VMM_CAPABILITY(KVM_CAP_ENFORCE_PV_FEATURE_CPUID),
    VMM_CAPABILITY(KVM_CAP_MP_STATE),
    VMM_CAPABILITY(KVM_CAP_SREGS2),
    VMM_CAPABILITY(KVM_CAP_XSAVE2),
    VMM_CAPABILITY(KVM_CAP_XCRS),
    VMM_CAPABILITY(KVM_CAP_DEBUGREGS),
    VMM_CAPABILITY(KVM_CAP_VCPU_EVENTS),
    VMM_CAPABILITY(KVM_CAP_EXCEPTION_PAYLOAD),
    VMM_CAPABILITY(KVM_CAP_X86_TRIPLE_FAULT_EVENT),
    VMM_CAPABILITY(KVM_CAP_GET_TSC_KHZ),
    VMM_CAPABILITY(KVM_CAP_VCPU_ATTRIBUTES),
};
#undef VMM_CAPABILITY

absl::Status OpenError(int error, const std::string& path) {
  switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return absl::NotFoundError(absl::StrCat(
          path,
          " not found: load the kernel module kvm_intel or kvm_amd, and see that "
          "virtualization is enabled in the firmware (or nested virtualization in the host)"));
    case EACCES:
    case EPERM:
      return absl::PermissionDeniedError(absl::StrCat(
          "no permission to open ", path, ": add this user to the group that owns it (kvm)"));
    default:
      return ErrnoStatus(error, absl::StrCat("cannot open ", path));
  }
}

bool IsSavable(uint32_t msr) {
  if (msr == kMsrTsc || msr == kMsrKvmWallClock || msr == kMsrKvmWallClockNew) return false;
  if (msr >= kMsrHyperVFirst && msr <= kMsrHyperVLast) return false;
  return msr < kMsrVmxFirst || msr > kMsrVmxLast;
}

}  // namespace

absl::StatusOr<Kvm> Kvm::Open(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!fd.valid()) return OpenError(errno, path);
  absl::StatusOr<int> version = VMM_KVM_IOCTL(fd.get(), KVM_GET_API_VERSION, 0);
  if (!version.ok()) return absl::FailedPreconditionError(absl::StrCat(path, " is not KVM"));
  if (*version != KVM_API_VERSION) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " has KVM API version ", *version, ", not ", KVM_API_VERSION));
  }
  std::vector<const char*> missing;
  for (const Capability& capability : kRequired) {
    if (ioctl(fd.get(), KVM_CHECK_EXTENSION, capability.number) <= 0) {
      missing.push_back(capability.name);
    }
  }
  if (!missing.empty()) {
    return absl::FailedPreconditionError(
        absl::StrCat(path, " lacks ", absl::StrJoin(missing, ", ")));
  }
  ASSIGN_OR_RETURN(int size, VMM_KVM_IOCTL(fd.get(), KVM_GET_VCPU_MMAP_SIZE, 0));
  if (static_cast<size_t>(size) < sizeof(kvm_run)) {
    return absl::FailedPreconditionError(absl::StrCat(path, " maps only ", size, " bytes a vCPU"));
  }
  return Kvm(std::move(fd), size);
}

uint32_t Kvm::MaxVcpus() const {
  return std::max(ioctl(fd_.get(), KVM_CHECK_EXTENSION, KVM_CAP_MAX_VCPUS), 1);
}

absl::StatusOr<std::vector<kvm_cpuid_entry2>> Kvm::SupportedCpuid() const {
  WithEntries<kvm_cpuid2, kvm_cpuid_entry2> cpuid(kMaxCpuidEntries);
  cpuid->nent = kMaxCpuidEntries;
  RETURN_IF_ERROR(VMM_KVM_IOCTL(fd_.get(), KVM_GET_SUPPORTED_CPUID, cpuid.get()).status());
  std::vector<kvm_cpuid_entry2> entries(cpuid->entries, cpuid->entries + cpuid->nent);
  // Older kernels emulate the LAPIC's TSC-deadline mode without listing it here.
  if (ioctl(fd_.get(), KVM_CHECK_EXTENSION, KVM_CAP_TSC_DEADLINE_TIMER) > 0) {
    for (kvm_cpuid_entry2& entry : entries) {
      if (entry.function == 1) entry.ecx |= 1u << 24;
    }
  }
  return entries;
}

absl::StatusOr<std::vector<uint32_t>> Kvm::SavableMsrs() const {
  // With no room KVM says E2BIG and how many there are.
  kvm_msr_list none = {};
  absl::Status counted = VMM_KVM_IOCTL(fd_.get(), KVM_GET_MSR_INDEX_LIST, &none).status();
  if (!counted.ok() && StatusErrno(counted) != E2BIG) return counted;
  WithEntries<kvm_msr_list, uint32_t> list(none.nmsrs);
  list->nmsrs = none.nmsrs;
  RETURN_IF_ERROR(VMM_KVM_IOCTL(fd_.get(), KVM_GET_MSR_INDEX_LIST, list.get()).status());

  std::vector<uint32_t> msrs;
  std::copy_if(list->indices, list->indices + list->nmsrs, std::back_inserter(msrs), IsSavable);
  for (uint32_t msr : UnlistedStateMsrs()) {
    if (std::find(msrs.begin(), msrs.end(), msr) == msrs.end()) msrs.push_back(msr);
  }
  return msrs;
}

}  // namespace vmm
