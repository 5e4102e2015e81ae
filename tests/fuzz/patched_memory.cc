#include "tests/fuzz/patched_memory.h"

#include <string.h>

#include <algorithm>

namespace luo {
namespace {

struct [[gnu::packed]] Patch {
  uint16_t page;
  uint16_t what_and_where;
  uint64_t value;
};
static_assert(sizeof(Patch) == 12);

}  // namespace

PatchedMemory::PatchedMemory(void (*build)(PatchedMemory& memory))
    : pages_(kPagesRange.size / sizeof(uint64_t)) {
  build(*this);
  built_ = pages_;
}

void PatchedMemory::Reset(absl::Span<const uint8_t> input) {
  pages_ = built_;
  for (size_t at = 0; at + sizeof(Patch) <= input.size(); at += sizeof(Patch)) {
    Patch patch;
    memcpy(&patch, input.data() + at, sizeof(patch));
    const uint64_t where = patch.what_and_where % abi::kPageSize;
    uint8_t* to =
        reinterpret_cast<uint8_t*>(pages_.data()) + patch.page % kPages * abi::kPageSize + where;
    uint64_t value = 0;
    const size_t room = std::min(sizeof(value), abi::kPageSize - where);
    memcpy(&value, to, room);
    switch ((patch.what_and_where >> 12) % 5) {
      case 0:
        value = patch.value;
        break;
      case 1:
        value = kPagesRange.start.value() + patch.value % kPages * abi::kPageSize;
        break;
      case 2:
        value ^= patch.value;
        break;
      case 3:
        value += patch.value;
        break;
      case 4:
        value = (value & ~uint64_t{0xff}) | (patch.value & 0xff);
        break;
    }
    memcpy(to, &value, room);
  }
}

absl::StatusOr<absl::Span<const std::byte>> PatchedMemory::Read(PhysicalAddress address,
                                                                uint64_t size) const {
  if (kPagesRange.Contains(address, size)) {
    return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(pages_.data()) +
                                   (address.value() - kPagesRange.start.value()),
                               size);
  }
  if (kDataRange.Contains(address, size)) return absl::PermissionDeniedError("data");
  return absl::OutOfRangeError("no memory there");
}

absl::StatusOr<absl::Span<std::byte>> PatchedMemory::Write(PhysicalAddress address, uint64_t size) {
  ASSIGN_OR_RETURN(absl::Span<const std::byte> bytes, Read(address, size));
  return absl::MakeSpan(const_cast<std::byte*>(bytes.data()), bytes.size());
}

bool PatchedMemory::Contains(PhysicalAddress address, uint64_t size) const {
  return kPagesRange.Contains(address, size) || kDataRange.Contains(address, size);
}

}  // namespace luo
