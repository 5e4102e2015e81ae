// bzImage files: the parser, and the loader behind it.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "absl/types/span.h"
#include "tests/fuzz/load_guest.h"
#include "vmm/boot/byte_source.h"
#include "vmm/boot/bzimage.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto bytes = absl::MakeConstSpan(data, size);
  const auto image = vmm::ParseBzImage(vmm::SpanSource(bytes));
  if (image.ok() && image->payload_size > size - image->payload_offset) abort();
  vmm::LoadAsGuest(bytes);
  return 0;
}
