#include "luo_kernel/kho/incoming_handover.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace luo {
namespace {

// Linux has a region for low memory, one for all nodes, and one a node, of which there are at most
// 1024 (arch/x86/Kconfig, NODES_SHIFT).
constexpr uint64_t kMaxScratchRegions = 1024 + 2;

absl::Status Corrupt(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("handover: ", what));
}

absl::StatusOr<std::vector<PhysicalRange>> ReadScratch(const PhysicalMemory& memory,
                                                       const abi::KhoData& data) {
  const uint64_t count = data.scratch_size / sizeof(abi::Scratch);
  if (data.scratch_size % sizeof(abi::Scratch) != 0 || count == 0 || count > kMaxScratchRegions) {
    return Corrupt(absl::StrCat("a list of scratch regions of ", data.scratch_size, " bytes"));
  }
  std::vector<PhysicalRange> regions;
  for (uint64_t i = 0; i < count; ++i) {
    const std::optional<PhysicalAddress> at =
        PhysicalAddress(data.scratch_address).CheckedAdd(i * sizeof(abi::Scratch));
    if (!at) return Corrupt("the list of scratch regions wraps");
    absl::StatusOr<abi::Scratch> entry = ReadStruct<abi::Scratch>(memory, *at);
    if (!entry.ok()) return vmm::Annotate(entry.status(), "handover: scratch regions");
    const PhysicalRange region{PhysicalAddress(entry->address), entry->size};
    if (!region.start.IsPageAligned() || region.size % abi::kPageSize != 0) {
      return Corrupt(absl::StrCat("the scratch region at ", ToString(region.start),
                                  " is not made of whole pages"));
    }
    if (region.size != 0 && !memory.Contains(region.start, region.size)) {
      return absl::OutOfRangeError(absl::StrCat("handover: the scratch region at ",
                                                ToString(region.start), " lies outside memory"));
    }
    regions.push_back(region);
  }
  return regions;
}

// The pages that a range of bytes touches; the range does not wrap.
PhysicalRange PagesOf(PhysicalAddress address, uint64_t size) {
  const uint64_t begin = address.value() & ~(abi::kPageSize - 1);
  const uint64_t last = (address.value() + (size - 1)) | (abi::kPageSize - 1);
  return {PhysicalAddress(begin), last - begin + 1};
}

}  // namespace

absl::StatusOr<IncomingHandover> IncomingHandover::Open(const PhysicalMemory& memory,
                                                        const abi::KhoData& data) {
  IncomingHandover handover;
  handover.memory_ = &memory;
  handover.root_page_ = PhysicalAddress(data.root_address);
  ASSIGN_OR_RETURN(handover.root_, ReadHandoverRoot(memory, handover.root_page_, data.root_size));
  ASSIGN_OR_RETURN(handover.scratch_, ReadScratch(memory, data));
  ASSIGN_OR_RETURN(handover.map_, PreservedMap::Read(memory, handover.root_.memory_map));
  // What the next kernel works in, it overwrites; and so it does with what is not preserved.
  for (const PhysicalRange& region : handover.scratch_) {
    if (const std::optional<abi::RadixEntry> block = handover.map_.FindIn(region)) {
      return Corrupt(absl::StrCat("the block of order ", block->order, " at ",
                                  ToString(PhysicalAddress(block->address)),
                                  " is preserved, and lies in scratch memory"));
    }
  }
  if (!handover.map_.Covers(PagesOf(handover.root_page_, data.root_size))) {
    return Corrupt("the root itself is not preserved");
  }
  for (const Subtree& subtree : handover.root_.subtrees) {
    if (subtree.size != 0 && !handover.map_.Covers(PagesOf(subtree.address, subtree.size))) {
      return Corrupt(absl::StrCat("the blob of \"", subtree.name, "\" is not preserved"));
    }
  }
  return handover;
}

absl::Status IncomingHandover::Reserve(Arena& arena) const {
  const PhysicalRange& range = arena.range();
  return map_.ForEach([&](PhysicalAddress address, unsigned order) -> absl::Status {
    const PhysicalRange block{address, BytesOfOrder(order)};
    return range.Overlaps(block) ? arena.Reserve(block) : absl::OkStatus();
  });
}

absl::StatusOr<Subtree> IncomingHandover::FindSubtree(absl::string_view name) const {
  for (const Subtree& subtree : root_.subtrees) {
    if (subtree.name == name) return subtree;
  }
  return absl::NotFoundError(absl::StrCat("no subtree \"", name, "\" was handed over"));
}

absl::StatusOr<unsigned> IncomingHandover::RestoreFolio(PhysicalAddress address) {
  ASSIGN_OR_RETURN(unsigned order, map_.OrderAt(address));
  map_.Take(address, order);
  return order;
}

absl::Status IncomingHandover::TakePages(PhysicalAddress address, uint64_t count,
                                         std::vector<abi::RadixEntry>* taken) {
  if (!address.IsPageAligned() || count == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat(count, " pages at ", ToString(address), " are no run of pages"));
  }
  uint64_t frame = address.frame();
  while (count > 0) {
    const PhysicalAddress at(frame << abi::kPageShift);
    ASSIGN_OR_RETURN(unsigned order, map_.OrderAt(at));
    if (uint64_t{1} << order > count) {
      return absl::NotFoundError(absl::StrCat("the block of order ", order, " at ", ToString(at),
                                              " goes on where the pages asked for end"));
    }
    map_.Take(at, order);
    taken->push_back({at.value(), order});
    frame += uint64_t{1} << order;
    count -= uint64_t{1} << order;
  }
  return absl::OkStatus();
}

absl::Status IncomingHandover::UndoUnlessOk(absl::Status status,
                                            const std::vector<abi::RadixEntry>& taken) {
  if (status.ok()) return status;
  for (const abi::RadixEntry& block : taken) map_.Put(PhysicalAddress(block.address), block.order);
  return status;
}

absl::Status IncomingHandover::RestorePages(PhysicalAddress address, uint64_t count) {
  std::vector<abi::RadixEntry> taken;
  return UndoUnlessOk(TakePages(address, count, &taken), taken);
}

absl::Status IncomingHandover::RestoreSinglePages(absl::Span<const PhysicalAddress> pages) {
  std::vector<abi::RadixEntry> taken;
  absl::Status status;
  for (PhysicalAddress page : pages) {
    status = TakePages(page, 1, &taken);
    if (!status.ok()) break;
  }
  return UndoUnlessOk(std::move(status), taken);
}

absl::StatusOr<VmallocArea> IncomingHandover::RestoreVmalloc(const abi::Vmalloc& descriptor) {
  ASSIGN_OR_RETURN(VmallocArea area, ReadVmallocArea(*memory_, descriptor));
  std::vector<abi::RadixEntry> taken;
  const auto take_all = [&]() -> absl::Status {
    for (PhysicalAddress block : area.blocks) {
      RETURN_IF_ERROR(TakePages(block, uint64_t{1} << area.order, &taken));
    }
    for (PhysicalAddress chunk : area.chunks) RETURN_IF_ERROR(TakePages(chunk, 1, &taken));
    return absl::OkStatus();
  };
  RETURN_IF_ERROR(UndoUnlessOk(take_all(), taken));
  return area;
}

}  // namespace luo
