// IncomingHandover: what the kernel before left, as the kernel that came finds it. Open() reads and
// checks it all, from memory alone; nothing of it is trusted.
//
//   ASSIGN_OR_RETURN(auto handover, IncomingHandover::Open(memory, data));
//   RETURN_IF_ERROR(handover.Reserve(arena));  // what was preserved is taken, the rest is free
//   ASSIGN_OR_RETURN(Subtree luo, handover.FindSubtree("LUO"));
//   ASSIGN_OR_RETURN(unsigned order, handover.RestoreFolio(folio));  // from now on the caller's
//   RETURN_IF_ERROR(arena.Free(folio, order));
//
// Each block can be restored once. Restoring marks it in this object only, never in the memory,
// which may be read-only. A restore that fails changes nothing.
//
// Errors of Open(): kFailedPrecondition for another version of the ABI; kDataLoss for what is
// malformed; kOutOfRange for what points outside memory. Of the restores: kNotFound for what was
// not preserved, or was restored already. Not synchronised.
#ifndef LUO_KERNEL_KHO_INCOMING_HANDOVER_H_
#define LUO_KERNEL_KHO_INCOMING_HANDOVER_H_

#include <stdint.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/kho/arena.h"
#include "luo_kernel/kho/physical_memory.h"
#include "luo_kernel/kho/preserved_map.h"
#include "luo_kernel/kho/subtree.h"
#include "luo_kernel/kho/vmalloc_area.h"

namespace luo {

class IncomingHandover {
 public:
  // `memory` must outlive the handover.
  static absl::StatusOr<IncomingHandover> Open(const PhysicalMemory& memory,
                                               const abi::KhoData& data);

  IncomingHandover(IncomingHandover&&) = default;
  IncomingHandover& operator=(IncomingHandover&&) = default;

  // Takes every block that is still unrestored out of what `arena` may give away. After an error
  // (kAlreadyExists: a page was taken before) the arena has lost some of them.
  absl::Status Reserve(Arena& arena) const;

  // What is still unrestored: right after Open(), everything.
  const PreservedMap& preserved() const { return map_; }
  const std::vector<PhysicalRange>& scratch() const { return scratch_; }
  const std::vector<Subtree>& subtrees() const { return root_.subtrees; }
  absl::StatusOr<Subtree> FindSubtree(absl::string_view name) const;
  PhysicalAddress root_page() const { return root_page_; }
  PhysicalAddress memory_map() const { return root_.memory_map; }

  // The folio that starts there, of whatever order it was preserved with.
  absl::StatusOr<unsigned> RestoreFolio(PhysicalAddress address);
  // `count` contiguous pages, as they were preserved: their blocks must end where the range ends.
  absl::Status RestorePages(PhysicalAddress address, uint64_t count);
  // Single pages that lie anywhere: all of them, or none.
  absl::Status RestoreSinglePages(absl::Span<const PhysicalAddress> pages);
  // The area's blocks and the chunks that list them, which are the caller's too now, and of use to
  // nobody.
  absl::StatusOr<VmallocArea> RestoreVmalloc(const abi::Vmalloc& descriptor);

  const PhysicalMemory& memory() const { return *memory_; }

 private:
  IncomingHandover() = default;

  // Adds what it took to `taken`, if it fails, too.
  absl::Status TakePages(PhysicalAddress address, uint64_t count,
                         std::vector<abi::RadixEntry>* taken);
  absl::Status UndoUnlessOk(absl::Status status, const std::vector<abi::RadixEntry>& taken);

  const PhysicalMemory* memory_ = nullptr;
  PhysicalAddress root_page_;
  HandoverRoot root_;
  std::vector<PhysicalRange> scratch_;
  PreservedMap map_;
};

}  // namespace luo

#endif  // LUO_KERNEL_KHO_INCOMING_HANDOVER_H_
