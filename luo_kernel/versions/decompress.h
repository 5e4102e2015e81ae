// Decompress: a kernel's payload, as the boot code would decompress it.
//
//   std::vector<uint8_t> kernel(size);
//   RETURN_IF_ERROR(Decompress(payload, absl::MakeSpan(kernel)));
//
// Safe for bytes from anywhere; memory beyond the caller's is bounded (256 MiB, for xz and lzma
// dictionaries).
#ifndef LUO_KERNEL_VERSIONS_DECOMPRESS_H_
#define LUO_KERNEL_VERSIONS_DECOMPRESS_H_

#include <stdint.h>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace luo {

// Recognises gzip, xz, lzma, lz4 and zstd by their magic numbers (Linux,
// Documentation/arch/x86/boot.rst, payload_offset) and fills `out` to the last byte. Bytes of
// `packed` after the end of the stream are ignored. kUnimplemented: another compression.
// kInvalidArgument: the stream is damaged, or unpacks to another size.
absl::Status Decompress(absl::Span<const uint8_t> packed, absl::Span<uint8_t> out);

}  // namespace luo

#endif  // LUO_KERNEL_VERSIONS_DECOMPRESS_H_
