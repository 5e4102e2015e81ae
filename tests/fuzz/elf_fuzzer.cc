// ELF kernels: the parser, and the loader behind it.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "absl/types/span.h"
#include "tests/fuzz/load_guest.h"
#include "vmm/boot/byte_source.h"
#include "vmm/boot/elf_kernel.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = absl::MakeConstSpan(data, size);
  const auto kernel = vmm::ParseElfKernel(vmm::SpanSource(bytes));
  if (kernel.ok() && !kernel->window().Contains(kernel->entry)) abort();
  vmm::LoadAsGuest(bytes);
  return 0;
}
