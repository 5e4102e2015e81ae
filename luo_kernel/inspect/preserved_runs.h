// PreservedRuns: all memory that a handover preserves, out of KHO's radix tree, as far as that can
// be made out. Who is to live with the memory reads it by kho/preserved_map.h, which takes a sound
// tree or none.
//
//   PreservedRuns map = PreservedRuns::Read(memory, root, problems);
//   for (const auto& [bytes, count] : map.CountBySize()) ...
//   if (!map.Covers(address, 4096)) ...
//
// The tree may be anything: a page that it names twice, names outside of memory, or extents that
// overlap are problems, told and passed over. The time it takes is bounded by the size of memory.
#ifndef LUO_KERNEL_INSPECT_PRESERVED_RUNS_H_
#define LUO_KERNEL_INSPECT_PRESERVED_RUNS_H_

#include <stdint.h>

#include <map>
#include <optional>
#include <vector>

#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/inspect/physical_reader.h"
#include "luo_kernel/inspect/problems.h"

namespace luo {

// `count` blocks of 4 KiB << order one after the other.
struct PreservedRun {
  uint64_t address = 0;
  uint64_t count = 0;
  uint32_t order = 0;
  uint64_t block_bytes() const { return abi::kPageSize << order; }
  uint64_t size() const { return count * block_bytes(); }
};

class PreservedRuns {
 public:
  PreservedRuns() = default;
  // `root` is the physical address of the tree's top node.
  static PreservedRuns Read(const PhysicalReader& memory, uint64_t root, Problems& problems);

  // Ascending by address.
  const std::vector<PreservedRun>& runs() const { return runs_; }
  // Pages that the tree itself takes. They are not preserved: the next kernel reads them before it
  // allocates any memory.
  uint64_t tree_pages() const { return tree_pages_; }
  uint64_t bytes() const;
  // {bytes of a block: how many}.
  std::map<uint64_t, uint64_t> CountBySize() const;
  // Whether every byte of [address, address + size) is preserved.
  bool Covers(uint64_t address, uint64_t size) const;
  // The order of the block that begins at `address`, if one does.
  std::optional<uint32_t> OrderAt(uint64_t address) const;

 private:
  class Walk;

  std::vector<PreservedRun> runs_;
  uint64_t tree_pages_ = 0;
};

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_PRESERVED_RUNS_H_
