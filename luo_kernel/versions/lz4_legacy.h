// UnpackLz4Legacy: the LZ4 legacy frame, in which `lz4 -l` packs kernels (Debian's cloud kernels
// among them). The format is fixed for good and this small; the lz4 library would be a dependency
// for one caller.
//
//   RETURN_IF_ERROR(UnpackLz4Legacy(packed, absl::MakeSpan(out)));
//
// Source: "LZ4 Frame Format Description", Legacy frame, and "LZ4 Block Format Description". Safe
// for bytes from anywhere.
#ifndef LUO_KERNEL_VERSIONS_LZ4_LEGACY_H_
#define LUO_KERNEL_VERSIONS_LZ4_LEGACY_H_

#include <stdint.h>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace luo {

// Fills `out` to the last byte; what follows in `packed` is ignored. kInvalidArgument: damaged, or
// of another size.
absl::Status UnpackLz4Legacy(absl::Span<const uint8_t> packed, absl::Span<uint8_t> out);

}  // namespace luo

#endif  // LUO_KERNEL_VERSIONS_LZ4_LEGACY_H_
