// Block lists that a hostile kernel left: patches to a sound one (patched_memory.h), or real
// Linux's (sparse_memory.h). What is accepted must have as many entries as its blocks say.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "luo_kernel/abi/block.h"
#include "luo_kernel/kho/block_list.h"
#include "tests/fuzz/patched_memory.h"
#include "tests/fuzz/sparse_memory.h"

namespace {

using luo::PatchedMemory;
using luo::PhysicalAddress;

// Blocks are pages 1, 2, 3, of 24-byte entries, 170 in a full block.
constexpr uint64_t kEntrySize = 24;

PhysicalAddress Page(uint64_t page) {
  return PhysicalAddress(PatchedMemory::kPagesRange.start.value() + page * luo::abi::kPageSize);
}

void Build(PatchedMemory& memory) {
  for (uint64_t i = 1; i <= 3; ++i) {
    const luo::abi::BlockHeader header{i < 3 ? Page(i + 1).value() : 0, i < 3 ? 170u : 7u};
    if (!luo::WriteStruct(memory, Page(i), header).ok()) abort();
  }
}

void ReadAll(const luo::PhysicalMemory& memory, PhysicalAddress head, uint64_t entry_size) {
  const absl::StatusOr<luo::BlockList> list = luo::ReadBlockList(memory, head, entry_size);
  if (!list.ok()) return;
  uint64_t entries = 0;
  for (PhysicalAddress block : list->blocks()) {
    entries += luo::ReadStruct<luo::abi::BlockHeader>(memory, block).value().count;
  }
  if (entries != list->size() || list->blocks().size() > memory.size() / luo::abi::kPageSize) {
    abort();
  }
  uint8_t sum = 0;
  for (size_t i = 0; i < list->size(); ++i) {
    for (std::byte byte : (*list)[i]) sum += static_cast<uint8_t>(byte);
  }
  volatile uint8_t sink = sum;
  (void)sink;
}

}  // namespace

// The first byte is the number of the head's page, so that lists without patches differ, too; the
// second the size of an entry.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (auto real = luo::SparseMemory::Parse(absl::MakeConstSpan(data, size)); real.ok()) {
    ReadAll(*real, PhysicalAddress(real->begin().blocks), real->begin().entry_size);
    return 0;
  }
  static PatchedMemory memory(Build);
  if (size < 2) return 0;
  memory.Reset(absl::MakeConstSpan(data + 2, size - 2));
  const PhysicalAddress head = data[0] == 0 ? PhysicalAddress(0) : Page(data[0]);
  ReadAll(memory, head, data[1] == 0 ? kEntrySize : data[1] == 255 ? 4080 : data[1]);
  return 0;
}
