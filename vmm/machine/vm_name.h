// What a VM may be called. The name is part of its LUO session's name and of file names.
#ifndef VMM_MACHINE_VM_NAME_H_
#define VMM_MACHINE_VM_NAME_H_

#include <stddef.h>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace vmm {

// A LUO session's name has at most 63 bytes (Linux 7.3, LIVEUPDATE_SESSION_NAME_LENGTH with its
// NUL), some of them ours.
inline constexpr size_t kMaxVmNameLength = 48;

// kInvalidArgument unless `name` is 1 to kMaxVmNameLength characters of [A-Za-z0-9._-] and starts
// with a letter or digit.
absl::Status CheckVmName(absl::string_view name);

}  // namespace vmm

#endif  // VMM_MACHINE_VM_NAME_H_
