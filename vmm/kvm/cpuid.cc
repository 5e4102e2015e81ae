#include "vmm/kvm/cpuid.h"

#include <algorithm>
#include <bit>

#include "vmm/kvm/cpuid_table.h"
#include "vmm/kvm/cpuid_xsave.h"

namespace vmm {
namespace {

using enum CpuidRegister;

constexpr uint32_t kAll = ~uint32_t{0};

constexpr CpuidBits kHidden[] = {
    // DTES64, MONITOR, VMX, SMX, PDCM; DS.
    {0x1, 0, kEcx, Bit(2) | Bit(3) | Bit(5) | Bit(6) | Bit(15)},
    {0x1, 0, kEdx, Bit(21)},
    {0x5, 0, kEax, kAll},  // MONITOR/MWAIT
    {0x5, 0, kEbx, kAll},
    {0x5, 0, kEcx, kAll},
    {0x5, 0, kEdx, kAll},
    // SGX, Intel PT; SHSTK, SGX_LC; IBT, architectural LBRs.
    {0x7, 0, kEbx, Bit(2) | Bit(25)},
    {0x7, 0, kEcx, Bit(7) | Bit(30)},
    {0x7, 0, kEdx, Bit(19) | Bit(20)},
    {0x7, 1, kEdx, Bit(18)},  // supervisor shadow stacks
    {0xa, 0, kEax, kAll},     // PMU
    {0xa, 0, kEbx, kAll},
    {0xa, 0, kEcx, kAll},
    {0xa, 0, kEdx, kAll},
    // SVM; performance counters of core, north bridge and last-level cache.
    {0x80000001, 0, kEcx, Bit(2) | Bit(23) | Bit(24) | Bit(28)},
    {0x8000000a, 0, kEax, kAll},  // SVM
    {0x8000000a, 0, kEbx, kAll},
    {0x8000000a, 0, kEcx, kAll},
    {0x8000000a, 0, kEdx, kAll},
    {0x80000022, 0, kEax, kAll},  // performance monitoring, version 2
    {0x80000022, 0, kEbx, kAll},
};

// KVM_FEATURE_*: CLOCKSOURCE, NOP_IO_DELAY, CLOCKSOURCE2, STEAL_TIME, PV_EOI, PV_UNHALT,
// PV_TLB_FLUSH, PV_SEND_IPI, POLL_CONTROL, PV_SCHED_YIELD, CLOCKSOURCE_STABLE. Their whole state is
// in guest memory and in MSRs.
constexpr uint32_t kParavirtualFeatures = Bit(0) | Bit(1) | Bit(3) | Bit(5) | Bit(6) | Bit(7) |
                                          Bit(9) | Bit(11) | Bit(12) | Bit(13) | Bit(24);
constexpr uint32_t kKvmFeatures = 0x40000001;

uint32_t SetField(uint32_t value, int high, int low, uint32_t field) {
  const uint32_t max = Bit(high - low + 1) - 1;
  return (value & ~(max << low)) | (std::min(field, max) << low);
}

// Bits of an APIC ID that tell the cores of the package apart.
uint32_t CoreIdBits(const CpuidTopology& topology) {
  return std::bit_width(std::max(topology.vcpu_count, 1u) - 1);
}

void SetCache(const CpuidTopology& topology, kvm_cpuid_entry2* entry) {
  const uint32_t type = entry->eax & 0x1f;
  const uint32_t level = (entry->eax >> 5) & 0x7;
  if (type == 0) return;
  const uint32_t sharing = level >= 3 ? Bit(CoreIdBits(topology)) - 1 : 0;
  entry->eax = SetField(entry->eax, 25, 14, sharing);
  // Cores in the package; AMD's leaf has these bits reserved.
  const uint32_t cores = entry->function == 0x4 ? Bit(CoreIdBits(topology)) - 1 : 0;
  entry->eax = SetField(entry->eax, 31, 26, cores);
}

void SetTopology(const CpuidTopology& topology, kvm_cpuid_entry2* entry) {
  const bool many = topology.vcpu_count > 1;
  switch (entry->function) {
    case 0x1:
      entry->ebx = SetField(entry->ebx, 31, 24, topology.vcpu_id & 0xff);
      entry->ebx = SetField(entry->ebx, 23, 16, Bit(CoreIdBits(topology)));
      entry->edx = SetField(entry->edx, 28, 28, many);  // HTT: the field above counts
      break;
    case 0x4:
    case 0x8000001d:
      SetCache(topology, entry);
      break;
    case 0x80000001:
      entry->ecx = SetField(entry->ecx, 1, 1, many);  // CmpLegacy
      break;
    case 0x80000008:
      entry->ecx = SetField(entry->ecx, 15, 12, CoreIdBits(topology));
      entry->ecx = SetField(entry->ecx, 7, 0, topology.vcpu_count - 1);
      break;
    case 0x8000001e:
      entry->eax = topology.vcpu_id;
      entry->ebx = SetField(entry->ebx, 15, 0, topology.vcpu_id & 0xff);  // one thread a core
      entry->ecx = 0;                                                     // one node
      break;
  }
}

// Leaves 0xB and 0x1F: a level of threads, a level of cores, and the end.
void AppendExtendedTopology(uint32_t function, const CpuidTopology& topology,
                            std::vector<kvm_cpuid_entry2>* entries) {
  constexpr uint32_t kSmt = 1 << 8;
  constexpr uint32_t kCore = 2 << 8;
  const uint32_t levels[3][3] = {
      {0, 1, kSmt},
      {CoreIdBits(topology), topology.vcpu_count, kCore},
      {0, 0, 0},
  };
  for (uint32_t index = 0; index < 3; ++index) {
    kvm_cpuid_entry2 entry = {};
    entry.function = function;
    entry.index = index;
    entry.flags = KVM_CPUID_FLAG_SIGNIFCANT_INDEX;
    entry.eax = levels[index][0];
    entry.ebx = levels[index][1];
    entry.ecx = levels[index][2] | index;
    entry.edx = topology.vcpu_id;
    entries->push_back(entry);
  }
}

}  // namespace

std::vector<kvm_cpuid_entry2> GuestCpuid(absl::Span<const kvm_cpuid_entry2> supported,
                                         const CpuidTopology& topology) {
  std::vector<kvm_cpuid_entry2> entries;
  for (kvm_cpuid_entry2 entry : supported) {
    if (entry.function == 0xb || entry.function == 0x1f) {
      if (entry.index == 0) AppendExtendedTopology(entry.function, topology, &entries);
      continue;
    }
    SetTopology(topology, &entry);
    if (entry.function == 0x1) entry.ecx |= Bit(31);  // under a hypervisor
    if (entry.function == kKvmFeatures) entry.eax &= kParavirtualFeatures;
    entries.push_back(entry);
  }
  for (const CpuidBits& bits : kHidden) ClearCpuid(absl::MakeSpan(entries), bits);
  MakeXsaveConsistent(&entries);
  return entries;
}

}  // namespace vmm
