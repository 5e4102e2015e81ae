#include "vmm/kvm/cpuid_xsave.h"

#include <stdint.h>

#include <algorithm>

#include "absl/types/span.h"
#include "vmm/kvm/cpuid_table.h"

namespace vmm {
namespace {

using enum CpuidRegister;

constexpr uint32_t kLeaf = 0xd;
// The legacy FXSAVE area and the XSAVE header (Intel SDM vol. 1, 13.4.1 and 13.4.2).
constexpr uint32_t kHeaderEnd = 512 + 64;

// State components (Intel SDM vol. 1, 13.1), as bits of XCR0.
constexpr uint64_t kX87Sse = 0x3;
constexpr uint64_t kAvx = 0x4;
constexpr uint64_t kMpx = 0x18;
constexpr uint64_t kAvx512 = 0xe0;
constexpr uint64_t kPkru = 0x200;
constexpr uint64_t kAmx = 0x60000;
constexpr uint64_t kApx = 0x80000;

// The components past x87 and SSE that a guest can be offered, with the sizes that it expects.
struct Component {
  int bit;
  uint32_t size;
};
constexpr Component kComponents[] = {
    {2, 256},                          // AVX
    {3, 64},   {4, 64},                // MPX
    {5, 64},   {6, 512},   {7, 1024},  // AVX-512
    {9, 8},                            // PKRU
    {17, 64},  {18, 8192},             // AMX
    {19, 128},                         // APX
};

// Components that are offered only all together.
constexpr uint64_t kGroups[] = {kMpx, kAvx512 | kAvx, kAmx};

// Features whose instructions need components switched on.
struct Dependent {
  uint64_t components;
  CpuidBits bits;
};
constexpr Dependent kDependents[] = {
    // FMA, AVX, F16C.
    {kAvx, {0x1, 0, kEcx, Bit(12) | Bit(28) | Bit(29)}},
    // AVX2; VAES, VPCLMULQDQ.
    {kAvx, {0x7, 0, kEbx, Bit(5)}},
    {kAvx, {0x7, 0, kEcx, Bit(9) | Bit(10)}},
    // SHA512, SM3, SM4, AVX-VNNI, AVX-IFMA; AVX-VNNI-INT8, AVX-NE-CONVERT, AVX-VNNI-INT16.
    {kAvx, {0x7, 1, kEax, Bit(0) | Bit(1) | Bit(2) | Bit(4) | Bit(23)}},
    {kAvx, {0x7, 1, kEdx, Bit(4) | Bit(5) | Bit(10)}},
    {kAvx, {0x80000001, 0, kEcx, Bit(11) | Bit(16)}},  // XOP, FMA4
    {kMpx, {0x7, 0, kEbx, Bit(14)}},
    // AVX512F, DQ, IFMA, PF, ER, CD, BW, VL.
    {kAvx512,
     {0x7, 0, kEbx, Bit(16) | Bit(17) | Bit(21) | Bit(26) | Bit(27) | Bit(28) | Bit(30) | Bit(31)}},
    // VBMI, VBMI2, VNNI, BITALG, VPOPCNTDQ.
    {kAvx512, {0x7, 0, kEcx, Bit(1) | Bit(6) | Bit(11) | Bit(12) | Bit(14)}},
    // 4VNNIW, 4FMAPS, VP2INTERSECT, FP16.
    {kAvx512, {0x7, 0, kEdx, Bit(2) | Bit(3) | Bit(8) | Bit(23)}},
    {kAvx512, {0x7, 1, kEax, Bit(5)}},   // AVX512-BF16
    {kAvx512, {0x7, 1, kEdx, Bit(19)}},  // AVX10
    {kPkru, {0x7, 0, kEcx, Bit(3) | Bit(4)}},
    // AMX-BF16, AMX-TILE, AMX-INT8; AMX-FP16; AMX-COMPLEX.
    {kAmx, {0x7, 0, kEdx, Bit(22) | Bit(24) | Bit(25)}},
    {kAmx, {0x7, 1, kEax, Bit(21)}},
    {kAmx, {0x7, 1, kEdx, Bit(8)}},
    {kApx, {0x7, 1, kEdx, Bit(21)}},
    // XSAVE, OSXSAVE.
    {kX87Sse, {0x1, 0, kEcx, Bit(26) | Bit(27)}},
};

// XSAVEC and XSAVES: the area may be compacted.
constexpr uint32_t kCompaction = Bit(1) | Bit(3);

bool Plausible(const Component& component, const kvm_cpuid_entry2* entry) {
  const bool supervisor = entry != nullptr && (entry->ecx & Bit(0));
  return entry != nullptr && !supervisor && entry->eax == component.size &&
         entry->ebx >= kHeaderEnd && entry->ebx <= Bit(20);
}

// The components that can be offered, of those that leaf 0xD has.
uint64_t UsableComponents(absl::Span<kvm_cpuid_entry2> entries) {
  const kvm_cpuid_entry2* features = FindCpuid(entries, 1);
  const kvm_cpuid_entry2* leaf = FindCpuid(entries, kLeaf);
  if (features == nullptr || !(features->ecx & Bit(26)) || leaf == nullptr) return 0;
  const uint64_t offered = leaf->eax | uint64_t{leaf->edx} << 32;
  if ((offered & kX87Sse) != kX87Sse) return 0;
  uint64_t usable = kX87Sse;
  for (const Component& component : kComponents) {
    if ((offered >> component.bit & 1) &&
        Plausible(component, FindCpuid(entries, kLeaf, component.bit))) {
      usable |= uint64_t{1} << component.bit;
    }
  }
  for (uint64_t group : kGroups) {
    if ((usable & group) != group) usable &= ~(group & ~kAvx);
  }
  // APX lies where MPX did; a guest takes both at once for a broken processor.
  if (usable & kApx) usable &= ~kMpx;
  return usable;
}

uint32_t StandardSize(absl::Span<kvm_cpuid_entry2> entries, uint64_t components) {
  uint32_t size = kHeaderEnd;
  for (const Component& component : kComponents) {
    if (!(components >> component.bit & 1)) continue;
    size = std::max(size, FindCpuid(entries, kLeaf, component.bit)->ebx + component.size);
  }
  return size;
}

// Components follow one another, each on 64 bytes where its ECX[1] says so.
uint32_t CompactedSize(absl::Span<kvm_cpuid_entry2> entries, uint64_t components) {
  uint32_t size = kHeaderEnd;
  for (const Component& component : kComponents) {
    if (!(components >> component.bit & 1)) continue;
    if (FindCpuid(entries, kLeaf, component.bit)->ecx & Bit(1)) size = (size + 63) & ~uint32_t{63};
    size += component.size;
  }
  return size;
}

}  // namespace

void MakeXsaveConsistent(std::vector<kvm_cpuid_entry2>* entries) {
  const uint64_t usable = UsableComponents(absl::MakeSpan(*entries));
  for (const Dependent& dependent : kDependents) {
    if ((usable & dependent.components) != dependent.components) {
      ClearCpuid(absl::MakeSpan(*entries), dependent.bits);
    }
  }
  std::erase_if(*entries, [usable](const kvm_cpuid_entry2& entry) {
    if (entry.function != kLeaf) return false;
    if (usable == 0) return true;
    return entry.index >= 2 && (entry.index >= 64 || !(usable >> entry.index & 1));
  });
  if (usable == 0) return;

  const absl::Span<kvm_cpuid_entry2> table = absl::MakeSpan(*entries);
  kvm_cpuid_entry2* sizes = FindCpuid(table, kLeaf, 0);
  sizes->eax = static_cast<uint32_t>(usable);
  sizes->ebx = kHeaderEnd;
  sizes->ecx = StandardSize(table, usable);
  sizes->edx = usable >> 32;
  if (kvm_cpuid_entry2* compacted = FindCpuid(table, kLeaf, 1)) {
    if (!(usable & kAmx)) compacted->eax &= ~Bit(4);  // XFD
    compacted->ebx = (compacted->eax & kCompaction) ? CompactedSize(table, usable) : 0;
    compacted->ecx = 0;
    compacted->edx = 0;
  }
}

}  // namespace vmm
