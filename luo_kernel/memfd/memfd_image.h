// A memfd as "memfd-v2" hands it over: read from memory without taking it, written into memory from
// given contents, and copied out to a file.
//
//   // What a kernel left, in an image of its memory:
//   ASSIGN_OR_RETURN(MemfdImage image, ReadMemfd(memory, PhysicalAddress(file.data)));
//   ASSIGN_OR_RETURN(vmm::UniqueFd copy, CopyOutMemfd(memory, image, FolioOrders(map)));
//
//   // What a kernel in a guest is to find, in the guest's RAM:
//   ASSIGN_OR_RETURN(PhysicalAddress data, WriteMemfd(outgoing, contents, {.seals = F_SEAL_SEAL}));
//   WriteLuoV5(outgoing, {.number = 1, .sessions = {{"s", {{"memfd-v2", data.value(), 0}}}}});
//
// Reading is safe for memory of any contents: the work is bounded by the memory's size. Errors:
// kDataLoss for what is malformed, kOutOfRange for what lies outside memory, kUnimplemented
// (EOPNOTSUPP) for seals or flags that "memfd-v2" does not know. Format: luo_kernel/abi/MEMFD.md.
#ifndef LUO_KERNEL_MEMFD_MEMFD_IMAGE_H_
#define LUO_KERNEL_MEMFD_MEMFD_IMAGE_H_

#include <stdint.h>

#include <cstddef>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"
#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/kho/physical_memory.h"
#include "luo_kernel/kho/preserved_map.h"
#include "luo_kernel/kho/vmalloc_area.h"

namespace luo {

struct FolioImage {
  PhysicalAddress address;
  uint64_t flags = 0;  // abi::kFolioDirty, abi::kFolioUptodate
  uint64_t index = 0;  // of its first page in the file
};

struct MemfdImage {
  uint64_t position = 0;
  uint64_t size = 0;  // bytes
  uint32_t seals = 0;
  std::vector<FolioImage> folios;  // by ascending index, none of them twice; holes lie between
  VmallocArea array;               // where the list of folios lay
};

absl::StatusOr<MemfdImage> ReadMemfd(const PhysicalMemory& memory, PhysicalAddress address);

// The order of the folio at an address, as it is preserved; an error for one that is not.
using FolioOrder = std::function<absl::StatusOr<unsigned>(PhysicalAddress)>;
// That of a map, which must outlive what this returns.
FolioOrder FolioOrders(const PreservedMap& map);

// A new memfd with the contents, the position and, where `seal` says so, the seals of `image`.
// Every folio has to be preserved, to lie at a multiple of its size, in memory that can be read,
// and to overlap no other in the file; what lies past the file's size is left out.
absl::StatusOr<vmm::UniqueFd> CopyOutMemfd(const PhysicalMemory& memory, const MemfdImage& image,
                                           const FolioOrder& order, bool seal = true);

struct MemfdContents {
  uint64_t position = 0;
  uint64_t size = 0;
  uint32_t seals = 0;
  // Fills `out` with what the file has from `offset` on. Called once for each folio, in order.
  std::function<absl::Status(uint64_t offset, absl::Span<std::byte> out)> read;
  // Order of the largest folio: 9 is 2 MiB. At most Arena::kMaxOrder; 0 for a kernel without
  // transparent huge pages, whose files have single pages only.
  unsigned max_order = 9;
};

// Contents that lie in memory, which must outlive what this returns.
MemfdContents ContentsOf(absl::Span<const std::byte> bytes);

// Copies contents into folios of the outgoing handover's arena, preserves them, and describes them.
// What it returns is the `data` of a file of "memfd-v2". When it fails, nothing stays taken.
absl::StatusOr<PhysicalAddress> WriteMemfd(OutgoingHandover& outgoing,
                                           const MemfdContents& contents);

// Writes a description of folios that are preserved already. For whoever has them: WriteMemfd() and
// MemfdHandler.
absl::StatusOr<PhysicalAddress> WriteMemfdSer(OutgoingHandover& outgoing, uint64_t position,
                                              uint64_t size, uint32_t seals,
                                              const std::vector<FolioImage>& folios);
// Undoes WriteMemfdSer().
absl::Status FreeMemfdSer(OutgoingHandover& outgoing, PhysicalAddress address);

}  // namespace luo

#endif  // LUO_KERNEL_MEMFD_MEMFD_IMAGE_H_
