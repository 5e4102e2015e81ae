// The root of a handover: the device tree that says where the map of preserved memory and each
// subsystem's data lie. Read from anywhere safely; written the way Linux writes it, in place, in
// one page.
//
//   const PhysicalAddress page(data.root_address);
//   ASSIGN_OR_RETURN(HandoverRoot root, ReadHandoverRoot(memory, page, data.root_size));
//   for (const Subtree& subtree : root.subtrees) ...
#ifndef LUO_KERNEL_KHO_SUBTREE_H_
#define LUO_KERNEL_KHO_SUBTREE_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

struct Subtree {
  std::string name;
  PhysicalAddress address;  // of the blob
  uint64_t size = 0;
  friend bool operator==(const Subtree&, const Subtree&) = default;
};

struct HandoverRoot {
  PhysicalAddress memory_map;     // the radix tree's root node
  std::vector<Subtree> subtrees;  // in the tree's order: Linux puts the latest first
};

// kFailedPrecondition when the tree is another version's; kDataLoss when it is no such tree at all;
// what PhysicalMemory says when it is not in memory.
absl::StatusOr<HandoverRoot> ReadHandoverRoot(const PhysicalMemory& memory, PhysicalAddress address,
                                              uint64_t size);

// Writes a root without subtrees into the page at `address`.
absl::Status WriteHandoverRoot(WritablePhysicalMemory& memory, PhysicalAddress address,
                               PhysicalAddress memory_map);
// kAlreadyExists for a name that is there, kInvalidArgument for one that no node can have,
// kResourceExhausted when the page is full.
absl::Status AddSubtree(WritablePhysicalMemory& memory, PhysicalAddress root,
                        const Subtree& subtree);
// Removes the subtree of that blob; kNotFound.
absl::Status RemoveSubtree(WritablePhysicalMemory& memory, PhysicalAddress root,
                           PhysicalAddress blob);

}  // namespace luo

#endif  // LUO_KERNEL_KHO_SUBTREE_H_
