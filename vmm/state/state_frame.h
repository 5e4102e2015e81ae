// The frame around a frozen VM's state: a fixed header and a checksum over every byte that follows
// from it. Pure bytes; state_memfd.h puts them into a file. FORMAT.md is the contract.
//
//   std::vector<uint8_t> file = FrameState(payload);
//   ASSIGN_OR_RETURN(absl::Span<const uint8_t> payload, UnframeState(file));
//
// UnframeState() is safe for bytes from anywhere.
#ifndef VMM_STATE_STATE_FRAME_H_
#define VMM_STATE_STATE_FRAME_H_

#include <stddef.h>
#include <stdint.h>

#include <type_traits>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"

namespace vmm {

// The first bytes of the file, little-endian.
struct StateHeader {
  uint8_t magic[8];
  uint32_t version;
  uint32_t header_bytes;
  uint64_t payload_bytes;
  uint32_t crc32;  // Of the header, with `crc32` and `consumed` zero, and then of the payload.
  uint32_t consumed;
  uint8_t reserved[32];  // Zero.
};

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__,
              "the header is stored as it lies in memory");
static_assert(std::is_trivially_copyable_v<StateHeader>);
static_assert(sizeof(StateHeader) == 64);
static_assert(offsetof(StateHeader, version) == 8);
static_assert(offsetof(StateHeader, header_bytes) == 12);
static_assert(offsetof(StateHeader, payload_bytes) == 16);
static_assert(offsetof(StateHeader, crc32) == 24);
static_assert(offsetof(StateHeader, consumed) == 28);
static_assert(offsetof(StateHeader, reserved) == 32);

inline constexpr uint32_t kStateVersion = 1;

// StateHeader::consumed of a state from which no vCPU has run since it was written, and of one from
// which some has. Four letters ("RAN!") rather than a 1, so that a flipped bit is told from the
// mark.
inline constexpr uint32_t kStateFresh = 0;
inline constexpr uint32_t kStateConsumed = 0x214e4152;

// The largest file that is read or written.
inline constexpr size_t kMaxStateBytes = sizeof(StateHeader) + kMaxTreeBytes;

// A fresh header and `payload` after it.
std::vector<uint8_t> FrameState(absl::Span<const uint8_t> payload);

// The payload inside `file`. kInvalidArgument says what is wrong with the bytes;
// kFailedPrecondition: the state is consumed; kUnimplemented: it is of another version.
absl::StatusOr<absl::Span<const uint8_t>> UnframeState(absl::Span<const uint8_t> file);

}  // namespace vmm

#endif  // VMM_STATE_STATE_FRAME_H_
