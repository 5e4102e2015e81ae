// The schema rule of a VM's state: which vmm may read which tree.
//
//   RETURN_IF_ERROR(CheckKnownNodes(state, {"memory", "vcpu", "serial"}, [](absl::string_view node)
//   {
//     std::cerr << "state node \"" << node << "\" is unknown and optional: skipped\n";
//   }));
//
// The root's `compatible` names the schema; it changes only when an old reader would misread a new
// tree. Everything else is said by nodes: a reader that meets a node it does not know must refuse
// the state, unless the writer put the flag property "optional" on the node, which means that the
// guest runs correctly without it.
#ifndef VMM_STATE_STATE_SCHEMA_H_
#define VMM_STATE_STATE_SCHEMA_H_

#include <functional>

#include "absl/status/status.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tree.h"

namespace vmm {

inline constexpr absl::string_view kMachineCompatible = "vmm,machine-v1";

// kUnimplemented when the root's `compatible` is another than kMachineCompatible, kInvalidArgument
// when there is none.
absl::Status CheckSchema(const Tree& root);

// Compares the base names of the root's children with `known`. kUnimplemented names the first
// unknown node that is not optional; `skipped` is told the full name of each unknown one that is.
absl::Status CheckKnownNodes(const Tree& root, absl::Span<const absl::string_view> known,
                             const std::function<void(absl::string_view)>& skipped);

}  // namespace vmm

#endif  // VMM_STATE_STATE_SCHEMA_H_
