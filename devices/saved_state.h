// What every device's Restore() asks of its saved node first.
//
//   RETURN_IF_ERROR(CheckCompatible(state, "vmm,16550a-v1"));
//   ASSIGN_OR_RETURN(uint32_t ier, GetRegister(state, "ier", 0x0f));
#ifndef DEVICES_SAVED_STATE_H_
#define DEVICES_SAVED_STATE_H_

#include <stdint.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tree.h"

namespace vmm {

// kInvalidArgument when `state` was saved by another device, or by a version of it that is not
// `compatible`.
absl::Status CheckCompatible(const Tree& state, absl::string_view compatible);

// The 32-bit property `name`; kInvalidArgument when it has a bit outside `implemented_bits`, which
// the register of a running device cannot have.
absl::StatusOr<uint32_t> GetRegister(const Tree& state, absl::string_view name,
                                     uint32_t implemented_bits);

}  // namespace vmm

#endif  // DEVICES_SAVED_STATE_H_
