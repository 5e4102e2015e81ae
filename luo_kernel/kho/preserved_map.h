// PreservedMap: which memory a kernel preserved, read once from its radix tree and checked as a
// whole.
//
//   ASSIGN_OR_RETURN(PreservedMap map, PreservedMap::Read(memory, root.memory_map));
//   RETURN_IF_ERROR(map.ForEach([](PhysicalAddress address, unsigned order) { ... }));
//
// The memory may hold anything. The tree is refused (kDataLoss, or kOutOfRange for an address
// outside memory) where a node is not page-aligned, is reached twice (so cycles are found), or is
// itself preserved; where a key has no meaning; and where two blocks share a page. So the work is
// bounded by the amount of memory, and the map is a copy: the memory may change afterwards, it does
// not.
//
// One bit in a 4 KiB leaf for each block, as in the tree. Lookups cost the same however much is
// preserved. Moved, not copied. Not synchronised: lookups, too, remember where they were.
#ifndef LUO_KERNEL_KHO_PRESERVED_MAP_H_
#define LUO_KERNEL_KHO_PRESERVED_MAP_H_

#include <stdint.h>

#include <array>
#include <memory>
#include <optional>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

class PreservedMap {
 public:
  using Visitor = absl::FunctionRef<absl::Status(PhysicalAddress address, unsigned order)>;

  static absl::StatusOr<PreservedMap> Read(const PhysicalMemory& memory, PhysicalAddress root);

  PreservedMap() = default;
  PreservedMap(PreservedMap&&) = default;
  PreservedMap& operator=(PreservedMap&&) = default;

  uint64_t blocks() const { return blocks_; }
  uint64_t pages() const { return pages_; }
  // Pages of the tree's own nodes, which are not preserved; by ascending address.
  const std::vector<PhysicalAddress>& node_pages() const { return nodes_; }

  // By descending order, and within an order by ascending address; stops at the first error and
  // returns it. The map must not change meanwhile.
  absl::Status ForEach(Visitor visit) const;

  // The order of the block that starts at `address`; kNotFound.
  absl::StatusOr<unsigned> OrderAt(PhysicalAddress address) const;
  // The block that the address lies in; kNotFound.
  absl::StatusOr<abi::RadixEntry> BlockOf(PhysicalAddress address) const;
  // Whether every page of the range is preserved.
  bool Covers(PhysicalRange range) const;

  // A block that shares a page with the range.
  std::optional<abi::RadixEntry> FindIn(PhysicalRange range) const;

  // Takes the block out: true if it was there. Put() is the undoing of it.
  bool Take(PhysicalAddress address, unsigned order);
  void Put(PhysicalAddress address, unsigned order);

 private:
  class Reader;
  struct Leaf {
    uint64_t index;  // the key without its bitmap bits
    abi::RadixLeaf bits;
  };

  // nullptr where the map has no such leaf.
  Leaf* FindLeaf(uint64_t index, unsigned order) const;
  bool Has(PhysicalAddress address, unsigned order) const;

  std::vector<std::unique_ptr<Leaf>> leaves_;  // by ascending index
  absl::flat_hash_map<uint64_t, Leaf*> by_index_;
  mutable std::array<Leaf*, abi::kMaxRadixOrder + 1> last_ = {};
  uint64_t orders_present_ = 0;  // bit n: a leaf has a block of order n
  uint64_t blocks_ = 0;
  uint64_t pages_ = 0;
  std::vector<PhysicalAddress> nodes_;
};

}  // namespace luo

#endif  // LUO_KERNEL_KHO_PRESERVED_MAP_H_
