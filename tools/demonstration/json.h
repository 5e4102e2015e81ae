// The demonstration's findings as JSON, for programs (`tools/demo --report FILE`).
//
//   {"ok": true, "why": null, "phases_ms": {"check": 81.2, ...}, "blackout_ms": 2345.1, ...}
//
// Times end in _ms. What there is no evidence for is null. `failures` has every reason why the
// demonstration failed, `why` the first.
#ifndef TOOLS_DEMONSTRATION_JSON_H_
#define TOOLS_DEMONSTRATION_JSON_H_

#include <string>

#include "tools/demonstration/findings.h"

namespace vmm::demonstration {

std::string Json(const Findings& findings);

}  // namespace vmm::demonstration

#endif  // TOOLS_DEMONSTRATION_JSON_H_
