// OutgoingHandover: what the kernel that goes leaves for the one that comes. It keeps, in physical
// memory and in Linux's own layout (luo_kernel/abi/KHO.md), which pages are preserved and where
// each subsystem's data lies.
//
//   ASSIGN_OR_RETURN(auto handover, OutgoingHandover::Create(&memory, &arena, {scratch}));
//   RETURN_IF_ERROR(handover.PreserveFolio(folio, /*order=*/9));
//   ASSIGN_OR_RETURN(PhysicalAddress blob, handover.AllocatePreserved(sizeof(LuoSer)));
//   RETURN_IF_ERROR(handover.AddSubtree("LUO", blob, sizeof(LuoSer)));
//   ... the kexec, with handover.data() for the next kernel: IncomingHandover::Open(memory, data)
//
// There is no finalising step: after every call the memory is what the next kernel may be started
// with.
//
// Stricter than Linux, which trusts its callers: preserving what is preserved already, whole or in
// part, what lies in scratch memory or outside memory, and unpreserving what is not preserved, are
// errors that change nothing. Otherwise the next kernel would find it out, after the point of no
// return.
//
// Errors: kInvalidArgument for what is misaligned, empty or of an impossible order; kOutOfRange
// outside memory; kFailedPrecondition in scratch memory; kAlreadyExists; kNotFound;
// kResourceExhausted when the arena (or the root's one page) is full. The cost of preserving a
// block does not depend on how much memory there is or how much of it is preserved. Not
// synchronised.
#ifndef LUO_KERNEL_KHO_OUTGOING_HANDOVER_H_
#define LUO_KERNEL_KHO_OUTGOING_HANDOVER_H_

#include <stdint.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/kho/arena.h"
#include "luo_kernel/kho/physical_memory.h"
#include "luo_kernel/kho/radix_tree.h"
#include "luo_kernel/kho/subtree.h"

namespace luo {

class OutgoingHandover {
 public:
  // `scratch` names at least one region, of whole pages; what of them lies in the arena is taken
  // from it, for good. The first region's last 64 KiB hold the list of regions. After an error the
  // arena may have lost some pages. `memory` and `arena` must outlive the handover.
  static absl::StatusOr<OutgoingHandover> Create(WritablePhysicalMemory* memory, Arena* arena,
                                                 std::vector<PhysicalRange> scratch);

  OutgoingHandover(OutgoingHandover&&) = default;
  OutgoingHandover& operator=(OutgoingHandover&&) = default;

  // A folio, at a multiple of its size. Unpreserving takes the address and order that were
  // preserved.
  absl::Status PreserveFolio(PhysicalAddress address, unsigned order);
  absl::Status UnpreserveFolio(PhysicalAddress address, unsigned order);

  // `count` contiguous single pages; they travel as the largest aligned blocks that they divide
  // into. Unpreserving takes the range that was preserved, not a part of it.
  absl::Status PreservePages(PhysicalAddress address, uint64_t count);
  absl::Status UnpreservePages(PhysicalAddress address, uint64_t count);

  // An area of virtually contiguous memory: blocks of 2^order pages at the given addresses, in
  // order. `flags` are abi::kVmalloc.... What comes back has to travel inside something that is
  // preserved.
  absl::StatusOr<abi::Vmalloc> PreserveVmalloc(absl::Span<const PhysicalAddress> blocks,
                                               unsigned order, uint16_t flags);
  absl::Status UnpreserveVmalloc(const abi::Vmalloc& area);

  // A zeroed folio from the arena, of at least `size` bytes, preserved; and back.
  absl::StatusOr<PhysicalAddress> AllocatePreserved(uint64_t size);
  absl::Status FreePreserved(PhysicalAddress address, uint64_t size);

  // Makes a blob known to the next kernel by a name. Its pages are the caller's to preserve.
  absl::Status AddSubtree(absl::string_view name, PhysicalAddress blob, uint64_t size);
  // By the blob's address, as in Linux.
  absl::Status RemoveSubtree(PhysicalAddress blob);
  absl::StatusOr<Subtree> FindSubtree(absl::string_view name) const;

  // What to tell the next kernel.
  const abi::KhoData& data() const { return data_; }

  // Whether exactly this block is preserved.
  bool IsPreserved(PhysicalAddress address, unsigned order) const;
  uint64_t preserved_pages() const { return preserved_pages_; }
  // What the map of preserved memory itself takes: its nodes, in pages.
  uint64_t map_pages() const { return tree_->node_pages(); }

  WritablePhysicalMemory& memory() { return *memory_; }
  Arena& arena() { return *arena_; }

 private:
  OutgoingHandover(WritablePhysicalMemory* memory, Arena* arena, std::vector<PhysicalRange> scratch)
      : memory_(memory), arena_(arena), scratch_(std::move(scratch)) {}

  absl::Status CheckBlock(PhysicalAddress address, unsigned order) const;
  absl::Status WriteScratch();

  WritablePhysicalMemory* memory_;
  Arena* arena_;
  std::vector<PhysicalRange> scratch_;
  std::unique_ptr<RadixTree> tree_;
  abi::KhoData data_ = {};
  uint64_t preserved_pages_ = 0;
};

}  // namespace luo

#endif  // LUO_KERNEL_KHO_OUTGOING_HANDOVER_H_
