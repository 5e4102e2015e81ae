#include "vmm/state/state_frame.h"

#include <string.h>
#include <zlib.h>

#include <algorithm>
#include <iterator>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace vmm {
namespace {

constexpr uint8_t kMagic[8] = {'V', 'M', 'M', 'S', 'T', 'A', 'T', 'E'};

uint32_t Crc(StateHeader header, absl::Span<const uint8_t> payload) {
  header.crc32 = 0;
  header.consumed = 0;
  uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(&header), sizeof(header));
  return static_cast<uint32_t>(crc32_z(crc, payload.data(), payload.size()));
}

}  // namespace

std::vector<uint8_t> FrameState(absl::Span<const uint8_t> payload) {
  StateHeader header = {};
  std::copy(std::begin(kMagic), std::end(kMagic), header.magic);
  header.version = kStateVersion;
  header.header_bytes = sizeof(header);
  header.payload_bytes = payload.size();
  header.consumed = kStateFresh;
  header.crc32 = Crc(header, payload);

  std::vector<uint8_t> file(sizeof(header) + payload.size());
  memcpy(file.data(), &header, sizeof(header));
  std::copy(payload.begin(), payload.end(), file.begin() + sizeof(header));
  return file;
}

absl::StatusOr<absl::Span<const uint8_t>> UnframeState(absl::Span<const uint8_t> file) {
  StateHeader header;
  if (file.size() < sizeof(header)) {
    return absl::InvalidArgumentError(
        absl::StrCat("state of ", file.size(), " bytes is shorter than its header"));
  }
  memcpy(&header, file.data(), sizeof(header));
  absl::Span<const uint8_t> payload = file.subspan(sizeof(header));

  // Magic and version come before the checksum: another version may compute it otherwise.
  if (!std::equal(std::begin(kMagic), std::end(kMagic), header.magic)) {
    return absl::InvalidArgumentError("not a VM's state (wrong magic)");
  }
  if (header.version != kStateVersion) {
    return absl::UnimplementedError(absl::StrCat("state is of frame version ", header.version,
                                                 "; this vmm reads version ", kStateVersion));
  }
  if (header.header_bytes != sizeof(header)) {
    return absl::InvalidArgumentError(absl::StrCat("state has a header of ", header.header_bytes,
                                                   " bytes, not ", sizeof(header)));
  }
  if (header.payload_bytes != payload.size()) {
    return absl::InvalidArgumentError(absl::StrCat("state says it has ", header.payload_bytes,
                                                   " bytes of payload, but there are ",
                                                   payload.size()));
  }
  if (payload.size() > kMaxTreeBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("state of ", payload.size(), " bytes; at most ", kMaxTreeBytes));
  }
  if (header.crc32 != Crc(header, payload)) {
    return absl::InvalidArgumentError("state is damaged (checksum mismatch)");
  }
  if (std::any_of(std::begin(header.reserved), std::end(header.reserved),
                  [](uint8_t byte) { return byte != 0; })) {
    return absl::InvalidArgumentError("state has reserved header bytes that are not zero");
  }
  if (header.consumed == kStateConsumed) {
    return absl::FailedPreconditionError(
        "this VM already ran on from this state; its memory no longer matches");
  }
  if (header.consumed != kStateFresh) {
    return absl::InvalidArgumentError("state is damaged (neither fresh nor consumed)");
  }
  return payload;
}

}  // namespace vmm
