// Finding one's way in a table of CPUID entries. Private to vmm/kvm.
#ifndef VMM_KVM_CPUID_TABLE_H_
#define VMM_KVM_CPUID_TABLE_H_

#include <linux/kvm.h>
#include <stdint.h>

#include "absl/types/span.h"

namespace vmm {

enum class CpuidRegister { kEax, kEbx, kEcx, kEdx };

// Some bits of one CPUID register.
struct CpuidBits {
  uint32_t function;
  uint32_t index;
  CpuidRegister reg;
  uint32_t mask;
};

constexpr uint32_t Bit(int n) { return uint32_t{1} << n; }

template <typename Entry>  // kvm_cpuid_entry2, const or not
auto& RegisterOf(Entry& entry, CpuidRegister reg) {
  switch (reg) {
    case CpuidRegister::kEax:
      return entry.eax;
    case CpuidRegister::kEbx:
      return entry.ebx;
    case CpuidRegister::kEcx:
      return entry.ecx;
    case CpuidRegister::kEdx:
      break;
  }
  return entry.edx;
}

// The entry that answers (function, index), or null. An entry that isn't marked as indexed answers
// every index.
template <typename Entry>
Entry* FindCpuid(absl::Span<Entry> entries, uint32_t function, uint32_t index = 0) {
  for (Entry& entry : entries) {
    if (entry.function == function &&
        (entry.index == index || !(entry.flags & KVM_CPUID_FLAG_SIGNIFCANT_INDEX))) {
      return &entry;
    }
  }
  return nullptr;
}

inline void ClearCpuid(absl::Span<kvm_cpuid_entry2> entries, const CpuidBits& bits) {
  if (kvm_cpuid_entry2* entry = FindCpuid(entries, bits.function, bits.index)) {
    RegisterOf(*entry, bits.reg) &= ~bits.mask;
  }
}

}  // namespace vmm

#endif  // VMM_KVM_CPUID_TABLE_H_
