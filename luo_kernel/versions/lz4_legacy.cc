#include "luo_kernel/versions/lz4_legacy.h"

#include <stddef.h>
#include <string.h>

#include <algorithm>
#include <optional>

#include "absl/status/status.h"

namespace luo {
namespace {

constexpr uint32_t kMagic = 0x184c2102;
constexpr size_t kBlockBytes = size_t{8} << 20;
constexpr size_t kMinMatch = 4;
constexpr size_t kLongLength = 15;  // In four bits of the token: more bytes follow.

// Takes a little-endian number from the front of `bytes`; nothing when they are too few.
template <typename T>
std::optional<T> Take(absl::Span<const uint8_t>& bytes) {
  if (bytes.size() < sizeof(T)) return std::nullopt;
  T value;
  memcpy(&value, bytes.data(), sizeof(T));
  bytes.remove_prefix(sizeof(T));
  return value;
}

// A length whose first four bits are `nibble`.
std::optional<size_t> TakeLength(size_t nibble, absl::Span<const uint8_t>& bytes) {
  size_t length = nibble;
  if (nibble < kLongLength) return length;
  std::optional<uint8_t> more;
  do {
    more = Take<uint8_t>(bytes);
    if (!more.has_value()) return std::nullopt;
    length += *more;
  } while (*more == 0xff);
  return length;
}

// The bytes written to `out`; nothing when the block is damaged or does not fit.
std::optional<size_t> UnpackBlock(absl::Span<const uint8_t> block, absl::Span<uint8_t> out) {
  size_t written = 0;
  while (!block.empty()) {
    const uint8_t token = *Take<uint8_t>(block);
    const std::optional<size_t> literals = TakeLength(token >> 4, block);
    if (!literals.has_value() || *literals > block.size() || *literals > out.size() - written) {
      return std::nullopt;
    }
    std::copy_n(block.begin(), *literals, out.begin() + written);
    block.remove_prefix(*literals);
    written += *literals;
    if (block.empty()) return written;  // The last sequence has no match.

    const std::optional<uint16_t> distance = Take<uint16_t>(block);
    if (!distance.has_value() || *distance == 0 || *distance > written) return std::nullopt;
    const std::optional<size_t> match = TakeLength(token & 0xf, block);
    if (!match.has_value() || *match + kMinMatch > out.size() - written) return std::nullopt;
    // Byte by byte: source and destination may overlap, and then the match repeats itself.
    for (size_t i = 0; i < *match + kMinMatch; ++i, ++written) {
      out[written] = out[written - *distance];
    }
  }
  return std::nullopt;
}

}  // namespace

absl::Status UnpackLz4Legacy(absl::Span<const uint8_t> packed, absl::Span<uint8_t> out) {
  const absl::Status damaged = absl::InvalidArgumentError("damaged lz4 stream");
  if (Take<uint32_t>(packed) != kMagic) return damaged;
  while (!out.empty()) {
    const std::optional<uint32_t> size = Take<uint32_t>(packed);
    if (!size.has_value() || *size > packed.size()) return damaged;
    const std::optional<size_t> written =
        UnpackBlock(packed.subspan(0, *size), out.subspan(0, kBlockBytes));
    if (!written.has_value() || *written == 0) return damaged;
    packed.remove_prefix(*size);
    out.remove_prefix(*written);
  }
  return absl::OkStatus();
}

}  // namespace luo
