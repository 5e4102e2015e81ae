// Block lists: arrays of equal entries in linked preserved pages (luo_kernel/abi/block.h).
//
// Writing, before a kexec. Room is made early, while that can still fail without harm; filling it
// cannot fail:
//
//   BlockListWriter blocks(&handover, sizeof(abi::LuoFileSer));
//   RETURN_IF_ERROR(blocks.Grow(files.size()));
//   blocks.Clear();
//   for (const File& file : files) RETURN_IF_ERROR(blocks.Append(file.ser));
//   ser.files = blocks.head().value();
//
// Reading, after it:
//
//   const PhysicalAddress head(ser.files);
//   ASSIGN_OR_RETURN(BlockList list, ReadBlockList(memory, head, sizeof(abi::LuoFileSer)));
//   for (size_t i = 0; i < list.size(); ++i) Use(list.Get<abi::LuoFileSer>(i));
//   RETURN_IF_ERROR(RestoreBlocks(incoming, list));  // from then on the caller's to free
//
// Not synchronised.
#ifndef LUO_KERNEL_KHO_BLOCK_LIST_H_
#define LUO_KERNEL_KHO_BLOCK_LIST_H_

#include <stdint.h>
#include <string.h>

#include <cstddef>
#include <type_traits>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "luo_kernel/abi/block.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

class BlockListWriter {
 public:
  // `entry_size` in bytes, from 1 to abi::kBlockSize - sizeof(abi::BlockHeader). The handover must
  // outlive the writer. The blocks stay preserved when the writer goes: Free() is the caller's to
  // call when they must not.
  BlockListWriter(OutgoingHandover* handover, uint64_t entry_size);

  BlockListWriter(BlockListWriter&&) = default;
  BlockListWriter& operator=(BlockListWriter&&) = default;

  // Makes room for `count` entries in all. kResourceExhausted, with nothing changed, past
  // abi::kMaxBlocks blocks or when the arena is full.
  absl::Status Grow(uint64_t count);
  // Gives back the blocks that `count` entries do not need. A kernel refuses a list with an empty
  // block in it, so room that is not filled has to go before the kexec.
  absl::Status Shrink(uint64_t count);
  // Forgets the entries, keeps the room.
  absl::Status Clear();
  // Adds an entry of entry_size bytes. kResourceExhausted when there is no room left.
  absl::Status Append(absl::Span<const std::byte> entry);
  template <typename T>
  absl::Status Append(const T& entry) {
    static_assert(std::is_trivially_copyable_v<T>);
    return Append(absl::MakeConstSpan(reinterpret_cast<const std::byte*>(&entry), sizeof(T)));
  }
  // Unpreserves and frees all.
  absl::Status Free();

  // The first block, 0 when there is none: what a reader is given.
  PhysicalAddress head() const { return blocks_.empty() ? PhysicalAddress(0) : blocks_[0]; }
  uint64_t capacity() const { return blocks_.size() * per_block_; }
  uint64_t size() const { return size_; }

 private:
  absl::Status SetNext(uint64_t block, PhysicalAddress next);
  // Keeps the first `keep` blocks.
  absl::Status DropBlocks(uint64_t keep);

  OutgoingHandover* handover_;
  uint64_t entry_size_;
  uint64_t per_block_;
  std::vector<PhysicalAddress> blocks_;
  uint64_t size_ = 0;
};

class BlockList {
 public:
  size_t size() const { return entry_size_ == 0 ? 0 : entries_.size() / entry_size_; }
  // Entry `i`, below size().
  absl::Span<const std::byte> operator[](size_t i) const {
    return absl::MakeConstSpan(entries_).subspan(i * entry_size_, entry_size_);
  }
  // T has the size of an entry.
  template <typename T>
  T Get(size_t i) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value = {};
    memcpy(&value, entries_.data() + i * entry_size_,
           sizeof(T) < entry_size_ ? sizeof(T) : entry_size_);
    return value;
  }
  // The pages it was in, in order.
  const std::vector<PhysicalAddress>& blocks() const { return blocks_; }

 private:
  friend absl::StatusOr<BlockList> ReadBlockList(const PhysicalMemory& memory, PhysicalAddress head,
                                                 uint64_t entry_size);
  uint64_t entry_size_ = 0;
  std::vector<std::byte> entries_;
  std::vector<PhysicalAddress> blocks_;
};

// Copies a list out of memory; `head` 0 is the empty list. kDataLoss for a misaligned block, a
// cycle, more than abi::kMaxBlocks, or a count of 0 or beyond the block; kOutOfRange for a block
// outside memory.
absl::StatusOr<BlockList> ReadBlockList(const PhysicalMemory& memory, PhysicalAddress head,
                                        uint64_t entry_size);

// Restores the list's pages: all, or (kNotFound) none.
absl::Status RestoreBlocks(IncomingHandover& handover, const BlockList& list);

}  // namespace luo

#endif  // LUO_KERNEL_KHO_BLOCK_LIST_H_
