#include "vmm/kvm/msrs.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/kvm/ioctl.h"

namespace vmm {
namespace {

// KVM takes fewer than MAX_IO_MSRS in one call (Linux 7.3, arch/x86/kvm/msrs.c).
constexpr size_t kMaxBatch = 255;

using MsrBuffer = WithEntries<kvm_msrs, kvm_msr_entry>;

absl::Status CheckWritten(const Vcpu& vcpu, const kvm_msr_entry& refused) {
  if (refused.data == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(MsrValues current, ReadMsrs(vcpu, {refused.index}));
  if (!current.values.empty() && current.values[0].data == refused.data) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat("KVM refuses MSR 0x", absl::Hex(refused.index),
                                                    " = 0x", absl::Hex(refused.data)));
}

}  // namespace

absl::StatusOr<MsrValues> ReadMsrs(const Vcpu& vcpu, absl::Span<const uint32_t> indices) {
  MsrValues result;
  MsrBuffer buffer(kMaxBatch);
  while (!indices.empty()) {
    const size_t count = std::min(indices.size(), kMaxBatch);
    buffer->nmsrs = count;
    for (size_t i = 0; i < count; ++i) buffer->entries[i].index = indices[i];
    // KVM stops at the first that it cannot read and says how many it did.
    ASSIGN_OR_RETURN(int done, VMM_KVM_IOCTL(vcpu.fd(), KVM_GET_MSRS, buffer.get()));
    result.values.insert(result.values.end(), buffer->entries, buffer->entries + done);
    indices.remove_prefix(done);
    if (static_cast<size_t>(done) < count) {
      result.unreadable.push_back(indices.front());
      indices.remove_prefix(1);
    }
  }
  return result;
}

absl::Status WriteMsrs(const Vcpu& vcpu, absl::Span<const kvm_msr_entry> values) {
  MsrBuffer buffer(kMaxBatch);
  while (!values.empty()) {
    const size_t count = std::min(values.size(), kMaxBatch);
    buffer->nmsrs = count;
    std::copy_n(values.begin(), count, buffer->entries);
    ASSIGN_OR_RETURN(int done, VMM_KVM_IOCTL(vcpu.fd(), KVM_SET_MSRS, buffer.get()));
    values.remove_prefix(done);
    if (static_cast<size_t>(done) < count) {
      RETURN_IF_ERROR(CheckWritten(vcpu, values.front()));
      values.remove_prefix(1);
    }
  }
  return absl::OkStatus();
}

}  // namespace vmm
