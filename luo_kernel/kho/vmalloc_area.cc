#include "luo_kernel/kho/vmalloc_area.h"

#include <string.h>

#include <algorithm>

#include "absl/container/flat_hash_set.h"
#include "absl/functional/function_ref.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace luo {
namespace {

absl::Status Corrupt(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("vmalloc area: ", what));
}

// Calls `visit` for each part of [offset, offset + size) that lies in one page.
absl::Status ForEachPart(
    const VmallocArea& area, uint64_t offset, uint64_t size,
    absl::FunctionRef<absl::Status(PhysicalAddress address, uint64_t into, uint64_t bytes)> visit) {
  const uint64_t block_size = BytesOfOrder(area.order);
  const uint64_t area_size = area.blocks.size() * block_size;
  if (offset > area_size || size > area_size - offset) {
    return absl::OutOfRangeError(
        absl::StrCat(size, " bytes at ", offset, " of a vmalloc area of ", area_size, " bytes"));
  }
  uint64_t done = 0;
  while (done < size) {
    const uint64_t at = offset + done;
    const uint64_t bytes = std::min(size - done, abi::kPageSize - at % abi::kPageSize);
    const PhysicalAddress block = area.blocks[at / block_size];
    RETURN_IF_ERROR(visit(PhysicalAddress(block.value() + at % block_size), done, bytes));
    done += bytes;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<VmallocArea> ReadVmallocArea(const PhysicalMemory& memory,
                                            const abi::Vmalloc& descriptor) {
  if ((descriptor.flags & ~abi::kVmallocKnownFlags) != 0) {
    return Corrupt(absl::StrCat("unknown flags ", absl::Hex(descriptor.flags)));
  }
  const uint64_t total = descriptor.total_pages;
  if (descriptor.order >= 32 || total == 0 || total % (uint64_t{1} << descriptor.order) != 0) {
    return Corrupt(absl::StrCat(total, " pages in blocks of order ", descriptor.order));
  }
  if (total > memory.size() / abi::kPageSize) {
    return Corrupt(absl::StrCat(total, " pages are more than there are in memory"));
  }
  VmallocArea area;
  area.order = descriptor.order;
  area.flags = descriptor.flags;
  const uint64_t block_size = BytesOfOrder(area.order);
  const uint64_t count = total >> area.order;
  absl::flat_hash_set<uint64_t> visited;
  for (uint64_t next = descriptor.first; next != 0;) {
    const PhysicalAddress address(next);
    if (!address.IsPageAligned()) {
      return Corrupt(absl::StrCat("a chunk at ", ToString(address), ", which is no page's start"));
    }
    if (!visited.insert(next).second) {
      return Corrupt(absl::StrCat("the chunk at ", ToString(address), " is reached twice"));
    }
    const absl::StatusOr<abi::VmallocChunk> chunk = ReadStruct<abi::VmallocChunk>(memory, address);
    if (!chunk.ok()) return vmm::Annotate(chunk.status(), "vmalloc area: chunk");
    area.chunks.push_back(address);
    for (uint64_t block : chunk->addresses) {
      if (block == 0) break;
      if (area.blocks.size() == count) {
        return Corrupt(absl::StrCat("more blocks than its ", total, " pages have"));
      }
      if (!PhysicalAddress(block).IsPageAligned()) {
        return Corrupt(absl::StrCat("a block at ", absl::Hex(block), ", which is no page's start"));
      }
      if (!memory.Contains(PhysicalAddress(block), block_size)) {
        return absl::OutOfRangeError(absl::StrCat("vmalloc area: the block at ",
                                                  ToString(PhysicalAddress(block)),
                                                  " lies outside memory"));
      }
      area.blocks.push_back(PhysicalAddress(block));
    }
    next = chunk->next;
  }
  if (area.blocks.size() != count) {
    return Corrupt(absl::StrCat(area.blocks.size(), " blocks instead of ", count));
  }
  return area;
}

absl::Status ReadVmallocBytes(const PhysicalMemory& memory, const VmallocArea& area,
                              uint64_t offset, absl::Span<std::byte> out) {
  return ForEachPart(area, offset, out.size(),
                     [&](PhysicalAddress address, uint64_t into, uint64_t bytes) -> absl::Status {
                       ASSIGN_OR_RETURN(absl::Span<const std::byte> from,
                                        memory.Read(address, bytes));
                       memcpy(out.data() + into, from.data(), bytes);
                       return absl::OkStatus();
                     });
}

absl::Status WriteVmallocBytes(WritablePhysicalMemory& memory, const VmallocArea& area,
                               uint64_t offset, absl::Span<const std::byte> in) {
  return ForEachPart(area, offset, in.size(),
                     [&](PhysicalAddress address, uint64_t into, uint64_t bytes) -> absl::Status {
                       ASSIGN_OR_RETURN(absl::Span<std::byte> to, memory.Write(address, bytes));
                       memcpy(to.data(), in.data() + into, bytes);
                       return absl::OkStatus();
                     });
}

}  // namespace luo
