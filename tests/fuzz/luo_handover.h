// A handover with a LUO in it, in a fuzzer's patched memory, and the kernel that boots on it.
//
//   handed_over = HandOver(memory, [](OutgoingHandover& outgoing) { ... });   // in Build()
//   BootOn(memory, handed_over, [](Kernel& kernel) { ... });
//
// An input that is a SparseMemory is booted on as it is; any other has patches for the memory.
#ifndef TESTS_FUZZ_LUO_HANDOVER_H_
#define TESTS_FUZZ_LUO_HANDOVER_H_

#include "absl/functional/function_ref.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "tests/fuzz/patched_memory.h"
#include "tests/fuzz/sparse_memory.h"

namespace luo {

struct Kernel {
  WritablePhysicalMemory& memory;
  IncomingHandover& incoming;
  OutgoingHandover& outgoing;
};

// What a kernel leaves into whose handover `write` writes. Pages 0 to 19 are scratch.
abi::KhoData HandOver(PatchedMemory& memory,
                      absl::FunctionRef<void(OutgoingHandover& outgoing)> write);

// Calls `use` in the kernel that comes, if it gets so far.
void BootOn(PatchedMemory& memory, const abi::KhoData& data,
            absl::FunctionRef<void(Kernel& kernel)> use);
void BootOn(SparseMemory& memory, absl::FunctionRef<void(Kernel& kernel)> use);

}  // namespace luo

#endif  // TESTS_FUZZ_LUO_HANDOVER_H_
