#include "tests/fuzz/luo_handover.h"

#include <stdlib.h>

#include "absl/status/statusor.h"
#include "luo_kernel/kho/arena.h"

namespace luo {
namespace {

constexpr PhysicalRange kScratch{PatchedMemory::kPagesRange.start, 20 * abi::kPageSize};

// `free` is the new kernel's own, with `scratch` in it.
void Boot(WritablePhysicalMemory& memory, const abi::KhoData& data, PhysicalRange free,
          PhysicalRange scratch, absl::FunctionRef<void(Kernel& kernel)> use) {
  absl::StatusOr<IncomingHandover> incoming = IncomingHandover::Open(memory, data);
  if (!incoming.ok()) return;
  Arena arena = Arena::Create(&memory, free).value();
  if (!incoming->Reserve(arena).ok()) abort();
  absl::StatusOr<OutgoingHandover> outgoing = OutgoingHandover::Create(&memory, &arena, {scratch});
  if (!outgoing.ok()) return;
  Kernel kernel{memory, *incoming, *outgoing};
  use(kernel);
}

}  // namespace

abi::KhoData HandOver(PatchedMemory& memory,
                      absl::FunctionRef<void(OutgoingHandover& outgoing)> write) {
  Arena arena = Arena::Create(&memory, PatchedMemory::kPagesRange).value();
  OutgoingHandover outgoing = OutgoingHandover::Create(&memory, &arena, {kScratch}).value();
  write(outgoing);
  return outgoing.data();
}

void BootOn(PatchedMemory& memory, const abi::KhoData& data,
            absl::FunctionRef<void(Kernel& kernel)> use) {
  Boot(memory, data, PatchedMemory::kPagesRange, kScratch, use);
}

void BootOn(SparseMemory& memory, absl::FunctionRef<void(Kernel& kernel)> use) {
  Boot(memory, memory.begin().handover, SparseMemory::kBootRange, SparseMemory::kBootScratch, use);
}

}  // namespace luo
