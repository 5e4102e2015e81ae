#include "vmm/kvm/cpuid_check.h"

#include <stdint.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/kvm/cpuid_table.h"

namespace vmm {
namespace {

using enum CpuidRegister;

constexpr uint32_t kAll = ~uint32_t{0};

// The registers that list features, bit by bit, without the bits that follow from the guest's own
// settings or topology: OSXSAVE, the hypervisor bit, HTT, APIC, OSPKE, CmpLegacy.
constexpr CpuidBits kFeatures[] = {
    {0x1, 0, kEcx, ~(Bit(27) | Bit(31))},
    {0x1, 0, kEdx, ~(Bit(9) | Bit(28))},
    {0x6, 0, kEax, kAll},
    {0x7, 0, kEbx, kAll},
    {0x7, 0, kEcx, ~Bit(4)},
    {0x7, 0, kEdx, kAll},
    {0x7, 1, kEax, kAll},
    {0x7, 1, kEcx, kAll},
    {0x7, 1, kEdx, kAll},
    {0x7, 2, kEdx, kAll},
    {0xd, 0, kEax, kAll},
    {0xd, 0, kEdx, kAll},
    {0xd, 1, kEax, kAll},
    {0x80000001, 0, kEcx, ~Bit(1)},
    {0x80000001, 0, kEdx, ~Bit(9)},
    {0x80000007, 0, kEdx, kAll},
    {0x80000008, 0, kEbx, kAll},
    {0x80000021, 0, kEax, kAll},
    {0x80000021, 0, kEcx, kAll},
    {0x40000001, 0, kEax, kAll},
};

const char* Name(CpuidRegister reg) {
  switch (reg) {
    case kEax:
      return "EAX";
    case kEbx:
      return "EBX";
    case kEcx:
      return "ECX";
    case kEdx:
      break;
  }
  return "EDX";
}

uint32_t Value(absl::Span<const kvm_cpuid_entry2> entries, const CpuidBits& bits) {
  const kvm_cpuid_entry2* entry = FindCpuid(entries, bits.function, bits.index);
  return entry == nullptr ? 0 : RegisterOf(*entry, bits.reg) & bits.mask;
}

absl::Status CheckVendor(absl::Span<const kvm_cpuid_entry2> recorded,
                         absl::Span<const kvm_cpuid_entry2> supported) {
  for (CpuidRegister reg : {kEbx, kEcx, kEdx}) {
    const CpuidBits vendor = {0x0, 0, reg, kAll};
    if (Value(recorded, vendor) != Value(supported, vendor)) {
      return absl::FailedPreconditionError("the guest ran on a processor of another vendor");
    }
  }
  return absl::OkStatus();
}

absl::Status CheckXsaveLayout(absl::Span<const kvm_cpuid_entry2> recorded,
                              absl::Span<const kvm_cpuid_entry2> supported) {
  for (const kvm_cpuid_entry2& entry : recorded) {
    if (entry.function != 0xd || entry.index < 2) continue;
    for (CpuidRegister reg : {kEax, kEbx}) {
      const CpuidBits layout = {0xd, entry.index, reg, kAll};
      if (Value(recorded, layout) != Value(supported, layout)) {
        return absl::FailedPreconditionError(
            absl::StrCat("XSAVE component ", entry.index,
                         " has another size or place on this host than the guest has seen"));
      }
    }
  }
  return absl::OkStatus();
}

absl::Status CheckAddressWidth(absl::Span<const kvm_cpuid_entry2> recorded,
                               absl::Span<const kvm_cpuid_entry2> supported) {
  constexpr CpuidBits kPhysicalBits = {0x80000008, 0, kEax, 0xff};
  const uint32_t seen = Value(recorded, kPhysicalBits);
  const uint32_t offered = Value(supported, kPhysicalBits);
  if (seen <= offered) return absl::OkStatus();
  return absl::FailedPreconditionError(absl::StrCat(
      "the guest has ", seen, " bits of physical address, this host offers ", offered));
}

}  // namespace

absl::Status CheckCpuidOffered(absl::Span<const kvm_cpuid_entry2> recorded,
                               absl::Span<const kvm_cpuid_entry2> supported) {
  RETURN_IF_ERROR(CheckVendor(recorded, supported));
  for (const CpuidBits& bits : kFeatures) {
    const uint32_t missing = Value(recorded, bits) & ~Value(supported, bits);
    if (missing == 0) continue;
    return absl::FailedPreconditionError(
        absl::StrCat("the guest relies on CPUID features that this host's KVM lacks: leaf 0x",
                     absl::Hex(bits.function), ".", bits.index, " ", Name(bits.reg), " bits 0x",
                     absl::Hex(missing)));
  }
  RETURN_IF_ERROR(CheckXsaveLayout(recorded, supported));
  return CheckAddressWidth(recorded, supported);
}

}  // namespace vmm
