// RadixTree: the writable map of preserved memory, a set of (address, order), in the layout of
// luo_kernel/abi/kho_v4.h. OutgoingHandover's own; others see what it holds through PreservedMap.
//
//   ASSIGN_OR_RETURN(auto tree, RadixTree::Create(&memory, &arena));
//   RETURN_IF_ERROR(tree->Insert(PhysicalAddress(0x40000000), 9));
//
// Every operation goes down six levels at most, however much memory there is. As in Linux, nodes
// that become empty stay.
#ifndef LUO_KERNEL_KHO_RADIX_TREE_H_
#define LUO_KERNEL_KHO_RADIX_TREE_H_

#include <stdint.h>

#include <array>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/kho/arena.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

class RadixTree {
 public:
  // Both must outlive the tree, whose nodes stay in the arena for good.
  static absl::StatusOr<std::unique_ptr<RadixTree>> Create(WritablePhysicalMemory* memory,
                                                           Arena* arena);

  PhysicalAddress root() const { return root_; }
  // The root included.
  uint64_t node_pages() const { return node_pages_; }

  // Blocks at a multiple of their size, of an order up to abi::kMaxRadixOrder: the caller's to
  // check. Insert() fails with kResourceExhausted only, and changes nothing then; inserting twice
  // and erasing what is not there is not an error here.
  absl::Status Insert(PhysicalAddress address, unsigned order);
  void Erase(PhysicalAddress address, unsigned order);
  bool Has(PhysicalAddress address, unsigned order) const;
  // A block in the tree that shares a page with the given one.
  std::optional<abi::RadixEntry> FindOverlap(PhysicalAddress address, unsigned order) const;

 private:
  RadixTree(WritablePhysicalMemory* memory, Arena* arena, PhysicalAddress root)
      : memory_(memory), arena_(arena), root_(root) {}

  // The table of level 1 on a key's path, or null when there is none.
  uint64_t* FindTable(uint64_t key, unsigned order) const;
  // The leaf of a key, or null when there is none.
  uint64_t* FindLeaf(uint64_t key) const;

  // A page of the tree, by the part of the key that leads there. That there is none holds until the
  // tree has more pages.
  struct Cached {
    uint64_t prefix = ~uint64_t{0};
    uint64_t* page = nullptr;
    uint64_t node_pages = 0;
  };
  bool IsKnown(const Cached& cached, uint64_t prefix) const {
    return cached.prefix == prefix && (cached.page != nullptr || cached.node_pages == node_pages_);
  }

  WritablePhysicalMemory* memory_;
  Arena* arena_;
  PhysicalAddress root_;
  uint64_t node_pages_ = 1;
  // Blocks of each order: which orders have to be looked at for an overlap.
  std::array<uint64_t, abi::kMaxRadixOrder + 1> blocks_ = {};
  uint64_t orders_present_ = 0;  // bit n: blocks_[n] is not 0
  // The last leaf of each order: neighbours lie in the same one. And tables of level 1, each at the
  // one place in the cache that it can have: those of 4 TiB of single pages, so that leaves that
  // lie far apart are found as fast in a large machine as in a small one.
  mutable std::array<Cached, abi::kMaxRadixOrder + 1> leaves_ = {};
  mutable std::array<Cached, 64> tables_ = {};
};

}  // namespace luo

#endif  // LUO_KERNEL_KHO_RADIX_TREE_H_
