// Handovers that a hostile kernel left: root, scratch regions, map of preserved memory, vmalloc
// areas; patches to a sound one (patched_memory.h), or real Linux's (sparse_memory.h). Whatever is
// accepted must be consistent: blocks that are apart, inside memory, and restored once.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <optional>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/kho/arena.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "tests/fuzz/patched_memory.h"
#include "tests/fuzz/sparse_memory.h"

namespace {

using luo::PatchedMemory;
using luo::PhysicalAddress;

constexpr uint64_t kPage = luo::abi::kPageSize;

// Both lie where the seeds can find them: in the first two pages, which are scratch.
constexpr PhysicalAddress kBootData = PatchedMemory::kPagesRange.start;
constexpr PhysicalAddress kArea(PatchedMemory::kPagesRange.start.value() + 64);

PhysicalAddress Data(uint64_t page) {
  return PhysicalAddress(PatchedMemory::kDataRange.start.value() + page * kPage);
}

void Check(bool good) {
  if (!good) abort();
}

// Pages 0 to 31 are scratch; 32 is the first node, 33 the root; then come more nodes and what is
// preserved. From page 56 on, nothing.
void Build(PatchedMemory& memory) {
  luo::Arena arena = luo::Arena::Create(&memory, PatchedMemory::kPagesRange).value();
  luo::OutgoingHandover handover =
      luo::OutgoingHandover::Create(&memory, &arena,
                                    {{PatchedMemory::kPagesRange.start, 32 * kPage}})
          .value();
  Check(handover.PreserveFolio(Data(512), 9).ok());
  Check(handover.PreserveFolio(Data(0), 0).ok());
  Check(handover.PreservePages(Data(5), 9).ok());
  std::vector<PhysicalAddress> blocks;
  for (uint64_t i = 0; i < 520; ++i) blocks.push_back(Data(3500 - 2 * i));
  const luo::abi::Vmalloc area = handover.PreserveVmalloc(blocks, 0, 1).value();
  const PhysicalAddress blob = handover.AllocatePreserved(100).value();
  Check(handover.AddSubtree("LUO", blob, 100).ok());
  Check(luo::WriteStruct(memory, kBootData, handover.data()).ok());
  Check(luo::WriteStruct(memory, kArea, area).ok());
}

// `free` is what the new kernel has for itself.
void Boot(luo::WritablePhysicalMemory& memory, const luo::abi::KhoData& data,
          const luo::abi::Vmalloc& area, luo::PhysicalRange free) {
  absl::StatusOr<luo::IncomingHandover> handover = luo::IncomingHandover::Open(memory, data);
  luo::ReadVmallocArea(memory, area).status().IgnoreError();
  if (!handover.ok()) return;

  luo::Arena arena = luo::Arena::Create(&memory, free).value();
  Check(handover->Reserve(arena).ok());
  for (const luo::PhysicalRange& region : handover->scratch()) {
    Check(!handover->preserved().FindIn(region));
  }
  const uint64_t pages = handover->preserved().pages();
  Check(pages <= memory.size() / kPage);
  const absl::StatusOr<luo::VmallocArea> restored = handover->RestoreVmalloc(area);
  if (restored.ok()) {
    Check(handover->preserved().pages() == pages - restored->pages() - restored->chunks.size());
  } else {
    Check(handover->preserved().pages() == pages);
  }
  std::vector<luo::abi::RadixEntry> blocks;
  Check(handover->preserved()
            .ForEach([&](PhysicalAddress address, unsigned order) {
              Check(memory.Contains(address, luo::BytesOfOrder(order)));
              blocks.push_back({address.value(), order});
              return absl::OkStatus();
            })
            .ok());
  Check(blocks.size() == handover->preserved().blocks());
  for (const luo::abi::RadixEntry& block : blocks) {
    const absl::StatusOr<unsigned> order = handover->RestoreFolio(PhysicalAddress(block.address));
    Check(order.ok() && *order == block.order);
  }
  Check(handover->preserved().pages() == 0);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::Span<const uint8_t> input(data, size);
  if (auto real = luo::SparseMemory::Parse(input); real.ok()) {
    const auto memfd =
        luo::ReadStruct<luo::abi::MemfdSer>(*real, PhysicalAddress(real->begin().memfd));
    Boot(*real, real->begin().handover, memfd.ok() ? memfd->folios : luo::abi::Vmalloc{},
         luo::SparseMemory::kBootRange);
    return 0;
  }
  static PatchedMemory memory(Build);
  memory.Reset(input);
  Boot(memory, luo::ReadStruct<luo::abi::KhoData>(memory, kBootData).value(),
       luo::ReadStruct<luo::abi::Vmalloc>(memory, kArea).value(), PatchedMemory::kPagesRange);
  return 0;
}
