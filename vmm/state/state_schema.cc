#include "vmm/state/state_schema.h"

#include <algorithm>
#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace vmm {

absl::Status CheckSchema(const Tree& root) {
  absl::StatusOr<std::string> compatible = root.GetString("compatible");
  if (!compatible.ok()) {
    return absl::InvalidArgumentError(
        absl::StrCat("state names no schema: ", compatible.status().message()));
  }
  if (*compatible != kMachineCompatible) {
    return absl::UnimplementedError(absl::StrCat(
        "state is of schema \"", *compatible, "\"; this vmm knows \"", kMachineCompatible, "\""));
  }
  return absl::OkStatus();
}

absl::Status CheckKnownNodes(const Tree& root, absl::Span<const absl::string_view> known,
                             const std::function<void(absl::string_view)>& skipped) {
  for (const Tree& node : root.children()) {
    if (std::find(known.begin(), known.end(), node.base_name()) != known.end()) continue;
    if (!node.Has("optional")) {
      return absl::UnimplementedError(absl::StrCat(
          "state has node \"", node.name(), "\", which this vmm does not know and may not skip"));
    }
    skipped(node.name());
  }
  return absl::OkStatus();
}

}  // namespace vmm
