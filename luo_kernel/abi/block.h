// The bytes of a KHO block list: an array of equal entries, spread over pages that are linked by
// physical address. Versioned by KHO's own string (kho_v4.h). KHO.md describes it in words.
// Sources: Linux 7.3, include/linux/kho/abi/block.h; kernel/liveupdate/kho_block.c.
#ifndef LUO_KERNEL_ABI_BLOCK_H_
#define LUO_KERNEL_ABI_BLOCK_H_

#include <stddef.h>
#include <stdint.h>

namespace luo::abi {

inline constexpr uint64_t kBlockSize = 4096;

// At the start of a block; `count` entries follow at once, without padding between them.
struct [[gnu::packed]] BlockHeader {
  uint64_t next;   // address of the next block's header, 0 in the last
  uint64_t count;  // from 1 to EntriesPerBlock()
};
static_assert(sizeof(BlockHeader) == 16);
static_assert(offsetof(BlockHeader, next) == 0);
static_assert(offsetof(BlockHeader, count) == 8);

constexpr uint64_t EntriesPerBlock(uint64_t entry_size) {
  return (kBlockSize - sizeof(BlockHeader)) / entry_size;
}

// KHO_MAX_BLOCKS of kho_block.c: past this a kernel takes a list for corrupt.
inline constexpr uint64_t kMaxBlocks = 10000;

}  // namespace luo::abi

#endif  // LUO_KERNEL_ABI_BLOCK_H_
