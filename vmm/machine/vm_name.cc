#include "vmm/machine/vm_name.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace vmm {

absl::Status CheckVmName(absl::string_view name) {
  auto allowed = [](char c) {
    return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '.' || c == '_' || c == '-';
  };
  if (name.empty() || name.size() > kMaxVmNameLength ||
      !absl::ascii_isalnum(static_cast<unsigned char>(name[0])) ||
      !std::all_of(name.begin(), name.end(), allowed)) {
    return absl::InvalidArgumentError(
        absl::StrCat("a VM's name is 1 to ", kMaxVmNameLength,
                     " of [A-Za-z0-9._-] and starts with a letter or digit"));
  }
  return absl::OkStatus();
}

}  // namespace vmm
