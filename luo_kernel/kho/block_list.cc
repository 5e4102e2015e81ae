#include "luo_kernel/kho/block_list.h"

#include <string.h>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace luo {
namespace {

absl::Status Corrupt(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("block list: ", what));
}

bool IsEntrySize(uint64_t size) {
  return size > 0 && size <= abi::kBlockSize - sizeof(abi::BlockHeader);
}

}  // namespace

BlockListWriter::BlockListWriter(OutgoingHandover* handover, uint64_t entry_size)
    : handover_(handover),
      entry_size_(entry_size),
      per_block_(IsEntrySize(entry_size) ? abi::EntriesPerBlock(entry_size) : 0) {}

absl::Status BlockListWriter::Grow(uint64_t count) {
  if (count == 0) return absl::OkStatus();
  if (per_block_ == 0) {
    return absl::InvalidArgumentError(
        absl::StrCat("a block has no room for an entry of ", entry_size_, " bytes"));
  }
  const uint64_t needed = (count - 1) / per_block_ + 1;
  if (needed > abi::kMaxBlocks) {
    return absl::ResourceExhaustedError(
        absl::StrCat(count, " entries take ", needed, " blocks; at most ", abi::kMaxBlocks));
  }
  const uint64_t before = blocks_.size();
  while (blocks_.size() < needed) {
    absl::StatusOr<PhysicalAddress> block = handover_->AllocatePreserved(abi::kBlockSize);
    if (!block.ok()) {
      if (blocks_.size() > before) RETURN_IF_ERROR(DropBlocks(before));
      return block.status();
    }
    blocks_.push_back(*block);
    if (blocks_.size() > 1) RETURN_IF_ERROR(SetNext(blocks_.size() - 2, *block));
  }
  return absl::OkStatus();
}

absl::Status BlockListWriter::SetNext(uint64_t block, PhysicalAddress next) {
  ASSIGN_OR_RETURN(auto header, ReadStruct<abi::BlockHeader>(handover_->memory(), blocks_[block]));
  header.next = next.value();
  return WriteStruct(handover_->memory(), blocks_[block], header);
}

absl::Status BlockListWriter::DropBlocks(uint64_t keep) {
  // The list ends before its tail goes.
  if (keep > 0 && keep < blocks_.size()) {
    RETURN_IF_ERROR(SetNext(keep - 1, PhysicalAddress(0)));
  }
  while (blocks_.size() > keep) {
    RETURN_IF_ERROR(handover_->FreePreserved(blocks_.back(), abi::kBlockSize));
    blocks_.pop_back();
  }
  return absl::OkStatus();
}

absl::Status BlockListWriter::Shrink(uint64_t count) {
  if (per_block_ == 0 || blocks_.empty()) return absl::OkStatus();
  const uint64_t needed = count == 0 ? 0 : (count - 1) / per_block_ + 1;
  if (needed >= blocks_.size()) return absl::OkStatus();
  RETURN_IF_ERROR(DropBlocks(needed));
  if (size_ > capacity()) size_ = capacity();
  return absl::OkStatus();
}

absl::Status BlockListWriter::Clear() {
  for (uint64_t i = 0; i < blocks_.size(); ++i) {
    ASSIGN_OR_RETURN(absl::Span<std::byte> block,
                     handover_->memory().Write(blocks_[i], abi::kBlockSize));
    memset(block.data() + offsetof(abi::BlockHeader, count), 0,
           abi::kBlockSize - offsetof(abi::BlockHeader, count));
  }
  size_ = 0;
  return absl::OkStatus();
}

absl::Status BlockListWriter::Append(absl::Span<const std::byte> entry) {
  if (entry.size() != entry_size_) {
    return absl::InvalidArgumentError(
        absl::StrCat("an entry of ", entry.size(), " bytes in a list of ", entry_size_));
  }
  if (size_ >= capacity()) {
    return absl::ResourceExhaustedError(
        absl::StrCat("the list was made for ", capacity(), " entries"));
  }
  const uint64_t index = size_ % per_block_;
  const PhysicalAddress address = blocks_[size_ / per_block_];
  ASSIGN_OR_RETURN(absl::Span<std::byte> block,
                   handover_->memory().Write(address, abi::kBlockSize));
  memcpy(block.data() + sizeof(abi::BlockHeader) + index * entry_size_, entry.data(), entry.size());
  const uint64_t count = index + 1;
  memcpy(block.data() + offsetof(abi::BlockHeader, count), &count, sizeof(count));
  ++size_;
  return absl::OkStatus();
}

absl::Status BlockListWriter::Free() {
  RETURN_IF_ERROR(DropBlocks(0));
  size_ = 0;
  return absl::OkStatus();
}

absl::StatusOr<BlockList> ReadBlockList(const PhysicalMemory& memory, PhysicalAddress head,
                                        uint64_t entry_size) {
  if (!IsEntrySize(entry_size)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a block has no room for an entry of ", entry_size, " bytes"));
  }
  BlockList list;
  list.entry_size_ = entry_size;
  absl::flat_hash_set<uint64_t> visited;
  while (head.value() != 0) {
    if (!head.IsPageAligned()) {
      return Corrupt(absl::StrCat("a block at ", ToString(head), ", which is no page's start"));
    }
    if (!visited.insert(head.value()).second) {
      return Corrupt(absl::StrCat("the block at ", ToString(head), " is reached twice"));
    }
    if (visited.size() > abi::kMaxBlocks) {
      return Corrupt(absl::StrCat("more than ", abi::kMaxBlocks, " blocks"));
    }
    absl::StatusOr<absl::Span<const std::byte>> block = memory.Read(head, abi::kBlockSize);
    if (!block.ok()) return vmm::Annotate(block.status(), "block list");
    // What is checked is what is used, should the memory change under the reader.
    abi::BlockHeader header;
    memcpy(&header, block->data(), sizeof(header));
    if (header.count == 0 || header.count > abi::EntriesPerBlock(entry_size)) {
      return Corrupt(absl::StrCat("the block at ", ToString(head), " with ", header.count,
                                  " entries; it can have from 1 to ",
                                  abi::EntriesPerBlock(entry_size)));
    }
    const std::byte* entries = block->data() + sizeof(header);
    list.entries_.insert(list.entries_.end(), entries, entries + header.count * entry_size);
    list.blocks_.push_back(head);
    head = PhysicalAddress(header.next);
  }
  return list;
}

absl::Status RestoreBlocks(IncomingHandover& handover, const BlockList& list) {
  return handover.RestoreSinglePages(list.blocks());
}

}  // namespace luo
