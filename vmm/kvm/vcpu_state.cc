#include "vmm/kvm/vcpu_state.h"

#include <string.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/kvm/guest_clock.h"
#include "vmm/kvm/ioctl.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/msr_index.h"
#include "vmm/kvm/msrs.h"

namespace vmm {
namespace {

constexpr absl::string_view kCompatible = "vmm,kvm-vcpu-v1";

// More than any host lists; a bound for hostile state.
constexpr size_t kMaxMsrs = 4096;

// XSAVE state is at least the legacy area of KVM_GET_XSAVE.
constexpr size_t kMinXsaveSize = sizeof(kvm_xsave);

// The structures are the saved format.
static_assert(sizeof(kvm_cpuid_entry2) == 40);
static_assert(sizeof(kvm_msr_entry) == 16);
static_assert(sizeof(kvm_regs) == 144);
static_assert(sizeof(kvm_sregs2) == 320);
static_assert(sizeof(kvm_xcrs) == 392);
static_assert(sizeof(kvm_xsave) == 4096);
static_assert(sizeof(kvm_debugregs) == 128);
static_assert(sizeof(kvm_lapic_state) == 1024);
static_assert(sizeof(kvm_vcpu_events) == 64);

template <typename T>
void SetArray(absl::string_view name, const std::vector<T>& values, Tree* node) {
  node->SetBytes(name, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(values.data()),
                                           values.size() * sizeof(T)));
}

template <typename T>
absl::StatusOr<std::vector<T>> GetArray(absl::string_view name, size_t max, const Tree& node) {
  ASSIGN_OR_RETURN(absl::Span<const uint8_t> bytes, node.GetBytes(name));
  if (bytes.size() % sizeof(T) != 0 || bytes.size() / sizeof(T) > max) {
    return absl::InvalidArgumentError(absl::StrCat(
        "property \"", name, "\" of node \"", node.name(), "\" has a bad size, ", bytes.size()));
  }
  std::vector<T> values(bytes.size() / sizeof(T));
  if (!values.empty()) memcpy(values.data(), bytes.data(), bytes.size());
  return values;
}

template <typename T>
absl::Status SaveStruct(const Vcpu& vcpu, unsigned long get, absl::string_view name, Tree* node) {
  T value = {};
  RETURN_IF_ERROR(KvmIoctl(vcpu.fd(), get, name, &value).status());
  node->SetStruct(name, value);
  return absl::OkStatus();
}

template <typename T>
absl::Status RestoreStruct(const Vcpu& vcpu, unsigned long set, absl::string_view name,
                           const Tree& node) {
  ASSIGN_OR_RETURN(T value, node.GetStruct<T>(name));
  return KvmIoctl(vcpu.fd(), set, name, &value).status();
}

// --- TSC. Its value is never saved: the offset to the host's TSC, which a kexec does not reset,
// is.

absl::Status TscOffset(const Vcpu& vcpu, unsigned long request, uint64_t* offset) {
  kvm_device_attr attribute = {};
  attribute.group = KVM_VCPU_TSC_CTRL;
  attribute.attr = KVM_VCPU_TSC_OFFSET;
  attribute.addr = reinterpret_cast<uintptr_t>(offset);
  return KvmIoctl(vcpu.fd(), request, "tsc-offset", &attribute).status();
}

absl::Status SaveTsc(const Vcpu& vcpu, Tree* node) {
  ASSIGN_OR_RETURN(int khz, VMM_KVM_IOCTL(vcpu.fd(), KVM_GET_TSC_KHZ, 0));
  uint64_t offset = 0;
  RETURN_IF_ERROR(TscOffset(vcpu, KVM_GET_DEVICE_ATTR, &offset));
  node->SetU32("tsc-khz", khz);
  node->SetU64("tsc-offset", offset);
  return absl::OkStatus();
}

absl::Status RestoreTsc(const Vcpu& vcpu, const Tree& node, uint64_t offset_delta,
                        std::vector<std::string>* warnings) {
  ASSIGN_OR_RETURN(uint32_t khz, node.GetU32("tsc-khz"));
  ASSIGN_OR_RETURN(uint64_t offset, node.GetU64("tsc-offset"));
  ASSIGN_OR_RETURN(int current_khz, VMM_KVM_IOCTL(vcpu.fd(), KVM_GET_TSC_KHZ, 0));
  // The TSC runs as fast as it did. A boot that measures its rate anew may be some ppm off the
  // last, which is no reason to change what the guest reads.
  const bool keeps_rate = khz == static_cast<uint32_t>(current_khz) ||
                          (TscRateIsOnlyRecorded(khz, current_khz) &&
                           VMM_KVM_IOCTL(vcpu.fd(), KVM_SET_TSC_KHZ, khz).ok());
  if (!keeps_rate) {
    warnings->push_back(absl::StrCat("the guest's TSC was measured at ", khz,
                                     " kHz, this host's at ", current_khz,
                                     " kHz; the guest's is not scaled"));
  }
  offset += offset_delta;
  RETURN_IF_ERROR(TscOffset(vcpu, KVM_SET_DEVICE_ATTR, &offset));
  // A paravirtual KVM may have no offset to give: its guests see the host's TSC as it is. Where the
  // host's TSC is unstable KVM moves the offset by the time between two calls (Linux 7.3,
  // arch/x86/kvm/x86.c: kvm_arch_vcpu_load()), which is no loss.
  uint64_t kept = 0;
  RETURN_IF_ERROR(TscOffset(vcpu, KVM_GET_DEVICE_ATTR, &kept));
  const int64_t difference = static_cast<int64_t>(kept - offset);
  const int64_t second = int64_t{khz} * 1000;
  if (difference > second || difference < -second) {
    warnings->push_back(absl::StrCat("KVM keeps ", static_cast<int64_t>(kept),
                                     " as the TSC's offset, not ", static_cast<int64_t>(offset)));
  }
  return absl::OkStatus();
}

// --- XSAVE: as large as the host's and the guest's features make it.

absl::Status SaveXsave(const Vcpu& vcpu, Tree* node) {
  std::vector<uint8_t> xsave(vcpu.xsave_size());
  RETURN_IF_ERROR(KvmIoctl(vcpu.fd(), KVM_GET_XSAVE2, "xsave", xsave.data()).status());
  node->SetBytes("xsave", xsave);
  return absl::OkStatus();
}

absl::Status RestoreXsave(const Vcpu& vcpu, const Tree& node) {
  ASSIGN_OR_RETURN(absl::Span<const uint8_t> saved, node.GetBytes("xsave"));
  if (saved.size() < kMinXsaveSize || saved.size() > vcpu.xsave_size()) {
    return absl::InvalidArgumentError(absl::StrCat("xsave has ", saved.size(),
                                                   " bytes; this host takes ", kMinXsaveSize,
                                                   " to ", vcpu.xsave_size()));
  }
  // KVM reads as much as this host's features need, whatever the old one's were.
  std::vector<uint8_t> xsave(vcpu.xsave_size());
  std::copy(saved.begin(), saved.end(), xsave.begin());
  return KvmIoctl(vcpu.fd(), KVM_SET_XSAVE, "xsave", xsave.data()).status();
}

absl::Status RestoreXcrs(const Vcpu& vcpu, const Tree& node) {
  ASSIGN_OR_RETURN(kvm_xcrs xcrs, node.GetStruct<kvm_xcrs>("xcrs"));
  // A host without XSAVE saves none, and refuses to be given even none.
  if (xcrs.nr_xcrs == 0) return absl::OkStatus();
  return KvmIoctl(vcpu.fd(), KVM_SET_XCRS, "xcrs", &xcrs).status();
}

absl::Status SaveMsrs(const Vcpu& vcpu, absl::Span<const uint32_t> indices, Tree* node) {
  ASSIGN_OR_RETURN(MsrValues msrs, ReadMsrs(vcpu, indices));
  SetArray("msrs", msrs.values, node);
  SetArray("msrs-unreadable", msrs.unreadable, node);
  return absl::OkStatus();
}

absl::Status RestoreMsrs(const Vcpu& vcpu, const Tree& node) {
  ASSIGN_OR_RETURN(std::vector<kvm_msr_entry> msrs,
                   GetArray<kvm_msr_entry>("msrs", kMaxMsrs, node));
  // A deadline is dropped unless the LAPIC's timer is in deadline mode already, and would fire at
  // once against a TSC that is not the guest's yet. Both are; but an MSR that changes the TSC
  // (TSC_ADJUST) must not come after it either.
  std::stable_partition(msrs.begin(), msrs.end(),
                        [](const kvm_msr_entry& msr) { return msr.index != kMsrTscDeadline; });
  return WriteMsrs(vcpu, msrs);
}

absl::Status CheckNode(const Vcpu& vcpu, const Tree& node) {
  ASSIGN_OR_RETURN(std::string compatible, node.GetString("compatible"));
  if (compatible != kCompatible) {
    return absl::InvalidArgumentError(
        absl::StrCat("a vCPU's state is \"", compatible, "\"; this version reads ", kCompatible));
  }
  ASSIGN_OR_RETURN(uint32_t id, node.GetU32("id"));
  if (id != vcpu.id()) {
    return absl::InvalidArgumentError(
        absl::StrCat("the state is of vCPU ", id, ", not ", vcpu.id()));
  }
  return absl::OkStatus();
}

absl::Status Save(const Vcpu& vcpu, absl::Span<const uint32_t> msrs, Tree* node) {
  node->SetString("compatible", kCompatible);
  node->SetU32("id", vcpu.id());
  // First, for it lets a pending INIT or SIPI change registers and LAPIC.
  kvm_mp_state mp_state = {};
  RETURN_IF_ERROR(KvmIoctl(vcpu.fd(), KVM_GET_MP_STATE, "mp-state", &mp_state).status());
  node->SetU32("mp-state", mp_state.mp_state);
  SetArray("cpuid", vcpu.cpuid(), node);
  RETURN_IF_ERROR(SaveTsc(vcpu, node));
  RETURN_IF_ERROR(SaveStruct<kvm_regs>(vcpu, KVM_GET_REGS, "regs", node));
  RETURN_IF_ERROR(SaveStruct<kvm_sregs2>(vcpu, KVM_GET_SREGS2, "sregs", node));
  RETURN_IF_ERROR(SaveStruct<kvm_debugregs>(vcpu, KVM_GET_DEBUGREGS, "debugregs", node));
  RETURN_IF_ERROR(SaveStruct<kvm_xcrs>(vcpu, KVM_GET_XCRS, "xcrs", node));
  RETURN_IF_ERROR(SaveXsave(vcpu, node));
  RETURN_IF_ERROR(SaveMsrs(vcpu, msrs, node));
  RETURN_IF_ERROR(SaveStruct<kvm_lapic_state>(vcpu, KVM_GET_LAPIC, "lapic", node));
  return SaveStruct<kvm_vcpu_events>(vcpu, KVM_GET_VCPU_EVENTS, "events", node);
}

absl::Status Restore(Vcpu& vcpu, const Tree& node, uint64_t tsc_offset_delta,
                     std::vector<std::string>* warnings) {
  RETURN_IF_ERROR(CheckNode(vcpu, node));
  // CPUID says which bits of everything else are valid.
  ASSIGN_OR_RETURN(std::vector<kvm_cpuid_entry2> cpuid, SavedCpuid(node));
  RETURN_IF_ERROR(vcpu.SetCpuid(cpuid));
  RETURN_IF_ERROR(RestoreTsc(vcpu, node, tsc_offset_delta, warnings));
  // The APIC base in it decides how the LAPIC's page is read.
  RETURN_IF_ERROR(RestoreStruct<kvm_sregs2>(vcpu, KVM_SET_SREGS2, "sregs", node));
  // Drops pending exceptions, which come back with the events.
  RETURN_IF_ERROR(RestoreStruct<kvm_regs>(vcpu, KVM_SET_REGS, "regs", node));
  RETURN_IF_ERROR(RestoreXcrs(vcpu, node));
  RETURN_IF_ERROR(RestoreXsave(vcpu, node));
  RETURN_IF_ERROR(RestoreStruct<kvm_debugregs>(vcpu, KVM_SET_DEBUGREGS, "debugregs", node));
  RETURN_IF_ERROR(RestoreStruct<kvm_lapic_state>(vcpu, KVM_SET_LAPIC, "lapic", node));
  RETURN_IF_ERROR(RestoreMsrs(vcpu, node));
  ASSIGN_OR_RETURN(uint32_t mp_state, node.GetU32("mp-state"));
  kvm_mp_state mp = {.mp_state = mp_state};
  RETURN_IF_ERROR(KvmIoctl(vcpu.fd(), KVM_SET_MP_STATE, "mp-state", &mp).status());
  RETURN_IF_ERROR(RestoreStruct<kvm_vcpu_events>(vcpu, KVM_SET_VCPU_EVENTS, "events", node));
  return vcpu.NotifyPaused();
}

}  // namespace

absl::StatusOr<Tree> SaveVcpu(const Vcpu& vcpu, absl::Span<const uint32_t> msrs) {
  Tree node(absl::StrCat("vcpu@", absl::Hex(vcpu.id())));
  RETURN_IF_ERROR(Annotate(Save(vcpu, msrs, &node), absl::StrCat("saving ", node.name())));
  return node;
}

absl::StatusOr<std::vector<std::string>> RestoreVcpu(Vcpu& vcpu, const Tree& node,
                                                     uint64_t tsc_offset_delta) {
  std::vector<std::string> warnings;
  RETURN_IF_ERROR(Annotate(Restore(vcpu, node, tsc_offset_delta, &warnings),
                           absl::StrCat("restoring vCPU ", vcpu.id())));
  return warnings;
}

absl::StatusOr<std::vector<kvm_cpuid_entry2>> SavedCpuid(const Tree& node) {
  return GetArray<kvm_cpuid_entry2>("cpuid", kMaxCpuidEntries, node);
}

}  // namespace vmm
