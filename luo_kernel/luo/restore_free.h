// RestoreFree: preserved memory that came back and is of no more use, given to the arena: what
// Linux does with kho_restore_free() and folio_put().
//
//   RETURN_IF_ERROR(RestoreFree(incoming, outgoing.arena(), PhysicalAddress(ser.address)));
//
// The arena must have the incoming handover's blocks taken (IncomingHandover::Reserve). What lies
// outside the arena is restored and nobody's. Errors are those of the restore: kNotFound.
#ifndef LUO_KERNEL_LUO_RESTORE_FREE_H_
#define LUO_KERNEL_LUO_RESTORE_FREE_H_

#include "absl/status/status.h"
#include "luo_kernel/kho/arena.h"
#include "luo_kernel/kho/block_list.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/physical_memory.h"
#include "luo_kernel/kho/vmalloc_area.h"

namespace luo {

// The folio that starts at `address`.
absl::Status RestoreFree(IncomingHandover& incoming, Arena& arena, PhysicalAddress address);
// All blocks that can be; the first error.
absl::Status RestoreFree(IncomingHandover& incoming, Arena& arena, const BlockList& list);
// An area with the pages that list it: all, or none.
absl::Status RestoreFree(IncomingHandover& incoming, Arena& arena, const abi::Vmalloc& descriptor);

// Gives 2^order pages that are restored already to the arena, if they lie in it.
void FreeRestored(Arena& arena, PhysicalAddress address, unsigned order);

}  // namespace luo

#endif  // LUO_KERNEL_LUO_RESTORE_FREE_H_
