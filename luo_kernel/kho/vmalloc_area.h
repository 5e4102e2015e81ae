// A preserved vmalloc area, read from its chunks.
//
//   ASSIGN_OR_RETURN(VmallocArea area, ReadVmallocArea(memory, descriptor));
#ifndef LUO_KERNEL_KHO_VMALLOC_AREA_H_
#define LUO_KERNEL_KHO_VMALLOC_AREA_H_

#include <stdint.h>

#include <cstddef>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

struct VmallocArea {
  std::vector<PhysicalAddress> blocks;  // in virtual order, each of 2^order pages
  unsigned order = 0;
  uint16_t flags = 0;                   // abi::kVmalloc...
  std::vector<PhysicalAddress> chunks;  // the pages that held the list
  uint64_t pages() const { return static_cast<uint64_t>(blocks.size()) << order; }
};

// Reads chunks from anywhere: kDataLoss for cycles, for a list longer or shorter than it says, for
// unknown flags, and for a size that memory cannot hold; kOutOfRange for blocks outside memory.
// That the blocks are preserved, and each of them once, is IncomingHandover::RestoreVmalloc()'s to
// check.
absl::StatusOr<VmallocArea> ReadVmallocArea(const PhysicalMemory& memory,
                                            const abi::Vmalloc& descriptor);

// Copies `size` bytes from the start of the area into `out`... [offset, offset + out.size()) of the
// area's bytes.
absl::Status ReadVmallocBytes(const PhysicalMemory& memory, const VmallocArea& area,
                              uint64_t offset, absl::Span<std::byte> out);
// The other way.
absl::Status WriteVmallocBytes(WritablePhysicalMemory& memory, const VmallocArea& area,
                               uint64_t offset, absl::Span<const std::byte> in);

}  // namespace luo

#endif  // LUO_KERNEL_KHO_VMALLOC_AREA_H_
