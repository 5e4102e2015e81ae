#include "luo_kernel/kho/outgoing_handover.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "luo_kernel/kho/vmalloc_area.h"

namespace luo {
namespace {

// As kexec aligns it (kernel/liveupdate/kexec_handover.c, kho_fill_kimage()).
constexpr uint64_t kScratchListAlignment = 0x10000;

// The block that a run of pages at `frame` begins with: as large as its alignment and length let it
// be.
unsigned OrderOfRun(uint64_t frame, uint64_t pages) {
  return std::min({static_cast<unsigned>(std::countr_zero(frame)),
                   static_cast<unsigned>(std::bit_width(pages)) - 1, abi::kMaxRadixOrder});
}

PhysicalAddress AddressOf(uint64_t frame) { return PhysicalAddress(frame << abi::kPageShift); }

absl::StatusOr<unsigned> OrderOfSize(uint64_t size) {
  if (size == 0 || size > BytesOfOrder(Arena::kMaxOrder)) {
    return absl::InvalidArgumentError(absl::StrCat("no folio has ", size, " bytes"));
  }
  const uint64_t pages = (size + abi::kPageSize - 1) >> abi::kPageShift;
  return static_cast<unsigned>(std::bit_width(pages - 1));
}

absl::Status CheckPages(PhysicalAddress address, uint64_t count) {
  if (!address.IsPageAligned() || count == 0 ||
      count > std::numeric_limits<uint64_t>::max() >> abi::kPageShift) {
    return absl::InvalidArgumentError(
        absl::StrCat(count, " pages at ", ToString(address), " are no run of pages"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<OutgoingHandover> OutgoingHandover::Create(WritablePhysicalMemory* memory,
                                                          Arena* arena,
                                                          std::vector<PhysicalRange> scratch) {
  if (scratch.empty()) return absl::InvalidArgumentError("a handover needs scratch memory");
  for (size_t i = 0; i < scratch.size(); ++i) {
    const PhysicalRange& region = scratch[i];
    if (!region.start.IsPageAligned() || region.size == 0 || region.size % abi::kPageSize != 0) {
      return absl::InvalidArgumentError("a scratch region is made of whole pages, at least one");
    }
    if (!memory->Contains(region.start, region.size)) {
      return absl::OutOfRangeError(
          absl::StrCat("the scratch region at ", ToString(region.start), " lies outside memory"));
    }
    for (size_t other = 0; other < i; ++other) {
      if (region.Overlaps(scratch[other])) {
        return absl::InvalidArgumentError("scratch regions overlap");
      }
    }
  }
  for (const PhysicalRange& region : scratch) RETURN_IF_ERROR(arena->Reserve(region));
  OutgoingHandover handover(memory, arena, std::move(scratch));
  RETURN_IF_ERROR(handover.WriteScratch());
  ASSIGN_OR_RETURN(handover.tree_, RadixTree::Create(memory, arena));
  ASSIGN_OR_RETURN(PhysicalAddress root, handover.AllocatePreserved(abi::kKhoRootSize));
  RETURN_IF_ERROR(WriteHandoverRoot(*memory, root, handover.tree_->root()));
  handover.data_.root_address = root.value();
  handover.data_.root_size = abi::kKhoRootSize;
  return handover;
}

absl::Status OutgoingHandover::WriteScratch() {
  const uint64_t size = scratch_.size() * sizeof(abi::Scratch);
  const PhysicalRange& first = scratch_[0];
  const uint64_t end = first.start.value() + first.size;
  uint64_t list = size > first.size ? 0 : (end - size) & ~(kScratchListAlignment - 1);
  if (list < first.start.value()) {
    return absl::InvalidArgumentError(absl::StrCat("the scratch region at ", ToString(first.start),
                                                   " has no room for the list of regions; give it ",
                                                   2 * kScratchListAlignment, " bytes"));
  }
  data_.scratch_address = list;
  data_.scratch_size = size;
  for (const PhysicalRange& region : scratch_) {
    RETURN_IF_ERROR(WriteStruct(*memory_, PhysicalAddress(list),
                                abi::Scratch{region.start.value(), region.size}));
    list += sizeof(abi::Scratch);
  }
  return absl::OkStatus();
}

absl::Status OutgoingHandover::CheckBlock(PhysicalAddress address, unsigned order) const {
  if (order > abi::kMaxRadixOrder || address.value() % BytesOfOrder(order) != 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("no block of order ", order, " can lie at ", ToString(address)));
  }
  if (!memory_->Contains(address, BytesOfOrder(order))) {
    return absl::OutOfRangeError(absl::StrCat("the block of order ", order, " at ",
                                              ToString(address), " lies outside memory"));
  }
  for (const PhysicalRange& region : scratch_) {
    if (region.Overlaps({address, BytesOfOrder(order)})) {
      return absl::FailedPreconditionError(
          absl::StrCat("the block at ", ToString(address), " lies in scratch memory"));
    }
  }
  if (const std::optional<abi::RadixEntry> other = tree_->FindOverlap(address, order)) {
    return absl::AlreadyExistsError(
        absl::StrCat("of the block of order ", order, " at ", ToString(address),
                     " something is preserved already, with the block of order ", other->order,
                     " at ", ToString(PhysicalAddress(other->address))));
  }
  return absl::OkStatus();
}

absl::Status OutgoingHandover::PreserveFolio(PhysicalAddress address, unsigned order) {
  RETURN_IF_ERROR(CheckBlock(address, order));
  RETURN_IF_ERROR(tree_->Insert(address, order));
  preserved_pages_ += uint64_t{1} << order;
  return absl::OkStatus();
}

bool OutgoingHandover::IsPreserved(PhysicalAddress address, unsigned order) const {
  return order <= abi::kMaxRadixOrder && address.value() % BytesOfOrder(order) == 0 &&
         tree_->Has(address, order);
}

absl::Status OutgoingHandover::UnpreserveFolio(PhysicalAddress address, unsigned order) {
  if (!IsPreserved(address, order)) {
    return absl::NotFoundError(
        absl::StrCat("no block of order ", order, " is preserved at ", ToString(address)));
  }
  tree_->Erase(address, order);
  preserved_pages_ -= uint64_t{1} << order;
  return absl::OkStatus();
}

absl::Status OutgoingHandover::PreservePages(PhysicalAddress address, uint64_t count) {
  RETURN_IF_ERROR(CheckPages(address, count));
  if (!memory_->Contains(address, count << abi::kPageShift)) {
    return absl::OutOfRangeError(
        absl::StrCat(count, " pages at ", ToString(address), " lie outside memory"));
  }
  const uint64_t begin = address.frame();
  const uint64_t end = begin + count;
  for (uint64_t frame = begin; frame < end;) {
    const unsigned order = OrderOfRun(frame, end - frame);
    const absl::Status status = PreserveFolio(AddressOf(frame), order);
    if (!status.ok()) {
      for (uint64_t undo = begin; undo < frame;) {
        const unsigned done = OrderOfRun(undo, end - undo);
        UnpreserveFolio(AddressOf(undo), done).IgnoreError();
        undo += uint64_t{1} << done;
      }
      return status;
    }
    frame += uint64_t{1} << order;
  }
  return absl::OkStatus();
}

absl::Status OutgoingHandover::UnpreservePages(PhysicalAddress address, uint64_t count) {
  RETURN_IF_ERROR(CheckPages(address, count));
  if (!memory_->Contains(address, count << abi::kPageShift)) {
    return absl::NotFoundError(
        absl::StrCat(count, " pages at ", ToString(address), " lie outside memory"));
  }
  const uint64_t begin = address.frame();
  const uint64_t end = begin + count;
  unsigned order = 0;
  for (uint64_t frame = begin; frame < end; frame += uint64_t{1} << order) {
    order = OrderOfRun(frame, end - frame);
    if (!IsPreserved(AddressOf(frame), order)) {
      return absl::NotFoundError(
          absl::StrCat(count, " pages at ", ToString(address), " were not preserved as one run"));
    }
  }
  for (uint64_t frame = begin; frame < end; frame += uint64_t{1} << order) {
    order = OrderOfRun(frame, end - frame);
    RETURN_IF_ERROR(UnpreserveFolio(AddressOf(frame), order));
  }
  return absl::OkStatus();
}

absl::StatusOr<PhysicalAddress> OutgoingHandover::AllocatePreserved(uint64_t size) {
  ASSIGN_OR_RETURN(unsigned order, OrderOfSize(size));
  ASSIGN_OR_RETURN(PhysicalAddress address, arena_->Allocate(order));
  const absl::Status status = PreserveFolio(address, order);
  if (status.ok()) return address;
  arena_->Free(address, order).IgnoreError();
  return status;
}

absl::Status OutgoingHandover::FreePreserved(PhysicalAddress address, uint64_t size) {
  ASSIGN_OR_RETURN(unsigned order, OrderOfSize(size));
  if (!IsPreserved(address, order)) {
    return absl::NotFoundError(
        absl::StrCat("no folio of order ", order, " is preserved at ", ToString(address)));
  }
  RETURN_IF_ERROR(arena_->Free(address, order));
  return UnpreserveFolio(address, order);
}

absl::StatusOr<abi::Vmalloc> OutgoingHandover::PreserveVmalloc(
    absl::Span<const PhysicalAddress> blocks, unsigned order, uint16_t flags) {
  if ((flags & ~abi::kVmallocKnownFlags) != 0) {
    return absl::InvalidArgumentError(absl::StrCat("vmalloc flags ", absl::Hex(flags)));
  }
  if (blocks.empty() || order >= 32 ||
      blocks.size() > std::numeric_limits<uint32_t>::max() >> order) {
    return absl::InvalidArgumentError(
        absl::StrCat("no vmalloc area has ", blocks.size(), " blocks of order ", order));
  }
  std::vector<PhysicalAddress> chunks;
  size_t done = 0;
  const auto fill = [&]() -> absl::Status {
    abi::VmallocChunk chunk = {};
    unsigned used = 0;
    ASSIGN_OR_RETURN(PhysicalAddress current, AllocatePreserved(sizeof(chunk)));
    chunks.push_back(current);
    for (PhysicalAddress block : blocks) {
      if (block.value() == 0) {
        return absl::InvalidArgumentError("a vmalloc area's block cannot lie at 0");
      }
      RETURN_IF_ERROR(PreservePages(block, uint64_t{1} << order));
      ++done;
      chunk.addresses[used++] = block.value();
      // Like Linux, a full chunk is followed by another, even if that stays empty.
      if (used == abi::kVmallocAddressesPerChunk) {
        ASSIGN_OR_RETURN(PhysicalAddress next, AllocatePreserved(sizeof(chunk)));
        chunks.push_back(next);
        chunk.next = next.value();
        RETURN_IF_ERROR(WriteStruct(*memory_, current, chunk));
        current = next;
        chunk = {};
        used = 0;
      }
    }
    return WriteStruct(*memory_, current, chunk);
  };
  const absl::Status status = fill();
  if (!status.ok()) {
    for (size_t i = 0; i < done; ++i) {
      UnpreservePages(blocks[i], uint64_t{1} << order).IgnoreError();
    }
    for (PhysicalAddress chunk : chunks) {
      FreePreserved(chunk, sizeof(abi::VmallocChunk)).IgnoreError();
    }
    return status;
  }
  abi::Vmalloc area = {};
  area.first = chunks[0].value();
  area.total_pages = static_cast<uint32_t>(blocks.size() << order);
  area.flags = flags;
  area.order = static_cast<uint16_t>(order);
  return area;
}

absl::Status OutgoingHandover::UnpreserveVmalloc(const abi::Vmalloc& descriptor) {
  ASSIGN_OR_RETURN(VmallocArea area, ReadVmallocArea(*memory_, descriptor));
  for (PhysicalAddress chunk : area.chunks) {
    if (!IsPreserved(chunk, 0)) {
      return absl::NotFoundError(
          absl::StrCat("the chunk at ", ToString(chunk), " is not preserved"));
    }
  }
  const uint64_t count = uint64_t{1} << area.order;
  for (size_t i = 0; i < area.blocks.size(); ++i) {
    const absl::Status status = UnpreservePages(area.blocks[i], count);
    if (!status.ok()) {
      while (i > 0) RETURN_IF_ERROR(PreservePages(area.blocks[--i], count));
      return status;
    }
  }
  for (PhysicalAddress chunk : area.chunks) {
    RETURN_IF_ERROR(FreePreserved(chunk, sizeof(abi::VmallocChunk)));
  }
  return absl::OkStatus();
}

absl::Status OutgoingHandover::AddSubtree(absl::string_view name, PhysicalAddress blob,
                                          uint64_t size) {
  if (size != 0 && !memory_->Contains(blob, size)) {
    return absl::OutOfRangeError(
        absl::StrCat("the blob of \"", name, "\" at ", ToString(blob), " lies outside memory"));
  }
  return luo::AddSubtree(*memory_, PhysicalAddress(data_.root_address),
                         {std::string(name), blob, size});
}

absl::Status OutgoingHandover::RemoveSubtree(PhysicalAddress blob) {
  return luo::RemoveSubtree(*memory_, PhysicalAddress(data_.root_address), blob);
}

absl::StatusOr<Subtree> OutgoingHandover::FindSubtree(absl::string_view name) const {
  ASSIGN_OR_RETURN(
      HandoverRoot root,
      ReadHandoverRoot(*memory_, PhysicalAddress(data_.root_address), data_.root_size));
  for (Subtree& subtree : root.subtrees) {
    if (subtree.name == name) return std::move(subtree);
  }
  return absl::NotFoundError(absl::StrCat("no subtree \"", name, "\""));
}

}  // namespace luo
