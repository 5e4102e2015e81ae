#include "luo_kernel/inspect/device_tree.h"

#include <algorithm>
#include <iterator>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace luo {
namespace {

// Of a flattened device tree (Devicetree Specification v0.4, 5.2): magic, then the total size, both
// big-endian.
constexpr uint8_t kMagic[] = {0xd0, 0x0d, 0xfe, 0xed};
constexpr size_t kStart = 8;

}  // namespace

bool IsDeviceTree(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= kStart && std::equal(std::begin(kMagic), std::end(kMagic), bytes.begin());
}

absl::StatusOr<vmm::Tree> ReadDeviceTree(absl::Span<const uint8_t> bytes) {
  if (!IsDeviceTree(bytes)) return absl::InvalidArgumentError("no device tree");
  const uint64_t size = uint64_t{bytes[4]} << 24 | bytes[5] << 16 | bytes[6] << 8 | bytes[7];
  if (size > bytes.size()) {
    return absl::InvalidArgumentError(
        absl::StrCat("a device tree of ", size, " bytes, of which ", bytes.size(), " are there"));
  }
  return vmm::DecodeTree(bytes.first(size));
}

}  // namespace luo
