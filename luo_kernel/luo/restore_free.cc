#include "luo_kernel/luo/restore_free.h"

#include "absl/status/statusor.h"
#include "base/status.h"

namespace luo {

void FreeRestored(Arena& arena, PhysicalAddress address, unsigned order) {
  if (!arena.range().Contains(address, BytesOfOrder(order))) return;
  // It can only fail where the arena never knew that the pages are taken, and then they are free.
  (void)arena.Free(address, order);
}

absl::Status RestoreFree(IncomingHandover& incoming, Arena& arena, PhysicalAddress address) {
  ASSIGN_OR_RETURN(const unsigned order, incoming.RestoreFolio(address));
  FreeRestored(arena, address, order);
  return absl::OkStatus();
}

absl::Status RestoreFree(IncomingHandover& incoming, Arena& arena, const BlockList& list) {
  absl::Status first;
  for (const PhysicalAddress block : list.blocks()) {
    first.Update(RestoreFree(incoming, arena, block));
  }
  return first;
}

absl::Status RestoreFree(IncomingHandover& incoming, Arena& arena, const abi::Vmalloc& descriptor) {
  ASSIGN_OR_RETURN(const VmallocArea area, incoming.RestoreVmalloc(descriptor));
  for (const PhysicalAddress block : area.blocks) FreeRestored(arena, block, area.order);
  for (const PhysicalAddress chunk : area.chunks) FreeRestored(arena, chunk, 0);
  return absl::OkStatus();
}

}  // namespace luo
