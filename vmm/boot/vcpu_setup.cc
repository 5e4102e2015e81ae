#include "vmm/boot/vcpu_setup.h"

#include <stdint.h>

#include <array>

#include "base/status.h"
#include "vmm/boot/platform.h"

namespace vmm {
namespace {

// Selectors of Linux's boot protocol; PVH leaves them open. The TSS is nobody's but the CPU wants
// one in TR.
constexpr uint16_t kCodeSelector = 0x10;  // __BOOT_CS
constexpr uint16_t kDataSelector = 0x18;  // __BOOT_DS
constexpr uint16_t kTssSelector = 0x20;

// Segment types: Intel SDM 3A, 3.4.5.1 and 3.5.
constexpr uint8_t kCodeExecuteRead = 0xb;
constexpr uint8_t kDataReadWrite = 0x3;
constexpr uint8_t kBusyTss = 0xb;

// Control registers and paging: Intel SDM 3A, 2.5 and 4.5.
constexpr uint64_t kCr0Pe = 1 << 0;
constexpr uint64_t kCr0Et = 1 << 4;
constexpr uint64_t kCr0Pg = uint64_t{1} << 31;
constexpr uint64_t kCr4Pae = 1 << 5;
constexpr uint64_t kEferLme = 1 << 8;
constexpr uint64_t kEferLma = 1 << 10;
constexpr uint64_t kRflagsReserved = 1 << 1;  // always one
constexpr uint64_t kPagePresent = 1 << 0;
constexpr uint64_t kPageWritable = 1 << 1;
constexpr uint64_t kPageLarge = 1 << 7;

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kLargePageSize = 2 << 20;
constexpr uint64_t kEntriesPerTable = 512;
constexpr uint64_t kMappedGiB = 4;
static_assert(kPageTablesAddress.value() % kPageSize == 0);
static_assert(kPageTablesAddress.value() + (2 + kMappedGiB) * kPageSize <=
              kCommandLineArea.start.value());

kvm_segment FlatSegment(uint16_t selector, uint8_t type) {
  kvm_segment segment = {};
  segment.limit = 0xffffffff;
  segment.selector = selector;
  segment.type = type;
  segment.present = 1;
  segment.s = 1;
  segment.g = 1;
  segment.db = 1;
  return segment;
}

kvm_segment CodeSegment(bool long_mode) {
  kvm_segment code = FlatSegment(kCodeSelector, kCodeExecuteRead);
  code.l = long_mode ? 1 : 0;
  code.db = long_mode ? 0 : 1;
  return code;
}

kvm_segment TaskSegment() {
  kvm_segment task = {};
  task.limit = 0x67;
  task.selector = kTssSelector;
  task.type = kBusyTss;
  task.present = 1;
  return task;
}

// The 8-byte descriptor of a segment with base 0 (Intel SDM 3A, figure 3-8).
uint64_t Descriptor(const kvm_segment& segment) {
  const uint64_t limit = segment.g ? segment.limit >> 12 : segment.limit;
  const uint64_t access = segment.type | segment.s << 4 | segment.dpl << 5 | segment.present << 7;
  const uint64_t flags = segment.avl | segment.l << 1 | segment.db << 2 | segment.g << 3;
  return (limit & 0xffff) | access << 40 | (limit >> 16 & 0xf) << 48 | flags << 52;
}

absl::Status WriteGdt(const GuestMemory& memory, kvm_sregs* sregs) {
  // A TSS descriptor is two entries long in 64-bit mode; its upper half is the base's, zero.
  std::array<uint64_t, 6> gdt = {};
  gdt[kCodeSelector / 8] = Descriptor(sregs->cs);
  gdt[kDataSelector / 8] = Descriptor(sregs->ds);
  gdt[kTssSelector / 8] = Descriptor(sregs->tr);
  sregs->gdt = {};
  sregs->gdt.base = kGdtAddress.value();
  sregs->gdt.limit = sizeof(gdt) - 1;
  sregs->idt = {};
  return memory.Store(kGdtAddress, gdt);
}

// One PML4 entry, one PDPT entry and one page directory per GiB.
absl::Status WritePageTables(const GuestMemory& memory) {
  using Table = std::array<uint64_t, kEntriesPerTable>;
  static_assert(sizeof(Table) == kPageSize);
  const uint64_t pml4 = kPageTablesAddress.value();
  const uint64_t pdpt = pml4 + kPageSize;
  const uint64_t directories = pdpt + kPageSize;

  Table table = {};
  table[0] = pdpt | kPagePresent | kPageWritable;
  RETURN_IF_ERROR(memory.Store(GuestAddress(pml4), table));
  for (uint64_t gib = 0; gib < kMappedGiB; ++gib) {
    table[gib] = (directories + gib * kPageSize) | kPagePresent | kPageWritable;
  }
  RETURN_IF_ERROR(memory.Store(GuestAddress(pdpt), table));
  for (uint64_t gib = 0; gib < kMappedGiB; ++gib) {
    for (uint64_t i = 0; i < kEntriesPerTable; ++i) {
      table[i] =
          (gib * kEntriesPerTable + i) * kLargePageSize | kPagePresent | kPageWritable | kPageLarge;
    }
    RETURN_IF_ERROR(memory.Store(GuestAddress(directories + gib * kPageSize), table));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status SetUpBootVcpu(const GuestMemory& memory, const BootEntry& entry, kvm_regs* regs,
                           kvm_sregs* sregs) {
  const bool long_mode = entry.protocol == BootEntry::Protocol::kLinux64;
  *regs = {};
  regs->rip = entry.entry.value();
  regs->rflags = kRflagsReserved;
  (long_mode ? regs->rsi : regs->rbx) = entry.parameters.value();

  sregs->cs = CodeSegment(long_mode);
  sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss =
      FlatSegment(kDataSelector, kDataReadWrite);
  sregs->tr = TaskSegment();
  sregs->ldt = {};
  sregs->ldt.unusable = 1;
  RETURN_IF_ERROR(WriteGdt(memory, sregs));

  sregs->cr0 = kCr0Pe | kCr0Et;
  sregs->cr2 = sregs->cr3 = sregs->cr4 = sregs->cr8 = sregs->efer = 0;
  if (!long_mode) return absl::OkStatus();
  sregs->cr0 |= kCr0Pg;
  sregs->cr3 = kPageTablesAddress.value();
  sregs->cr4 = kCr4Pae;
  sregs->efer = kEferLme | kEferLma;
  return WritePageTables(memory);
}

}  // namespace vmm
