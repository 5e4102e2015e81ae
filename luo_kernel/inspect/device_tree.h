// Device trees in memory that may be anything.
//
//   if (IsDeviceTree(page)) { absl::StatusOr<vmm::Tree> root = ReadDeviceTree(page); ... }
#ifndef LUO_KERNEL_INSPECT_DEVICE_TREE_H_
#define LUO_KERNEL_INSPECT_DEVICE_TREE_H_

#include <stdint.h>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"

namespace luo {

// Whether it begins as a flattened device tree does.
bool IsDeviceTree(absl::Span<const uint8_t> bytes);

// The tree that `bytes` begin with; kInvalidArgument where there is none or not all of it.
absl::StatusOr<vmm::Tree> ReadDeviceTree(absl::Span<const uint8_t> bytes);

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_DEVICE_TREE_H_
