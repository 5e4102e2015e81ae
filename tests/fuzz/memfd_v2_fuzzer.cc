// What a hostile kernel may leave as "memfd-v2": read, copied out, retrieved and finished. Inputs
// patch a sound file of folios (patched_memory.h), or are one of real Linux's (sparse_memory.h).
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"
#include "luo_kernel/kho/extent_memory.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/luo/file_handler.h"
#include "luo_kernel/memfd/memfd_handler.h"
#include "luo_kernel/memfd/memfd_image.h"
#include "tests/fuzz/luo_handover.h"
#include "tests/fuzz/patched_memory.h"

namespace {

using luo::PatchedMemory;
using luo::PhysicalAddress;

luo::abi::KhoData handed_over;
PhysicalAddress description;

void Build(PatchedMemory& memory) {
  handed_over = luo::HandOver(memory, [](luo::OutgoingHandover& outgoing) {
    const std::vector<std::byte> bytes(7 * 4096 - 100, std::byte{'x'});
    luo::MemfdContents contents = luo::ContentsOf(bytes);
    contents.position = 9;
    contents.seals = 1;
    // One order only: each needs nodes of its own in the map.
    contents.max_order = 0;
    description = luo::WriteMemfd(outgoing, contents).value();
  });
}

void Boot(luo::Kernel& kernel, PhysicalAddress description) {
  const absl::StatusOr<luo::MemfdImage> image = luo::ReadMemfd(kernel.memory, description);
  bool copied = false;
  if (image.ok()) {
    const absl::StatusOr<vmm::UniqueFd> file =
        luo::CopyOutMemfd(kernel.memory, *image, luo::FolioOrders(kernel.incoming.preserved()));
    copied = file.ok();
    struct stat info;
    if (copied &&
        (fstat(file->get(), &info) < 0 || static_cast<uint64_t>(info.st_size) != image->size ||
         static_cast<uint64_t>(info.st_blocks) > kernel.memory.size() / 512)) {
      abort();
    }
  }
  luo::ExtentMemory extents;
  luo::MemfdHandler handler(&extents, &kernel.outgoing, &kernel.incoming);
  luo::FileOpArgs args;
  args.data = description.value();
  // The last bit says whether it is retrieved or finished as it is.
  const uint64_t before = kernel.incoming.preserved().blocks();
  if (image.ok() && image->position % 2 == 0) {
    handler.Finish(args);
  } else if (handler.Retrieve(args).ok() && !copied) {
    abort();
  }
  if (kernel.incoming.preserved().blocks() > before) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::Span<const uint8_t> input(data, size);
  if (absl::StatusOr<luo::SparseMemory> real = luo::SparseMemory::Parse(input); real.ok()) {
    luo::BootOn(*real, [&real](luo::Kernel& kernel) {
      Boot(kernel, PhysicalAddress(real->begin().memfd));
    });
    return 0;
  }
  static PatchedMemory memory(Build);
  memory.Reset(input);
  luo::BootOn(memory, handed_over, [](luo::Kernel& kernel) { Boot(kernel, description); });
  return 0;
}
