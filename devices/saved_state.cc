#include "devices/saved_state.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"

namespace vmm {

absl::Status CheckCompatible(const Tree& state, absl::string_view compatible) {
  ASSIGN_OR_RETURN(std::string found, state.GetString("compatible"));
  if (found != compatible) {
    return absl::InvalidArgumentError(absl::StrCat("node \"", state.name(),
                                                   "\" is compatible with \"", found, "\", not \"",
                                                   compatible, "\""));
  }
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> GetRegister(const Tree& state, absl::string_view name,
                                     uint32_t implemented_bits) {
  ASSIGN_OR_RETURN(uint32_t value, state.GetU32(name));
  if ((value & ~implemented_bits) != 0) {
    return absl::InvalidArgumentError(
        absl::StrFormat("property \"%s\" of node \"%s\" is %#x; only bits %#x are implemented",
                        name, state.name(), value, implemented_bits));
  }
  return value;
}

}  // namespace vmm
