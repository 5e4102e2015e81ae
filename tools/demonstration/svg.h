// The demonstration's findings as a drawing: the phases under the guest's heartbeats, then the
// facts. One SVG 1.1 file without scripts or references, for light and dark viewers.
//
//   file << Svg(findings, *findings.timeline);
#ifndef TOOLS_DEMONSTRATION_SVG_H_
#define TOOLS_DEMONSTRATION_SVG_H_

#include <string>

#include "absl/strings/string_view.h"
#include "tools/demonstration/findings.h"

namespace vmm::demonstration {

// `timeline` is that of the findings: without one there is nothing to draw.
std::string Svg(const Findings& findings, const Timeline& timeline);

// `text` as XML character data or attribute value. What XML cannot hold becomes '?'.
std::string EscapeXml(absl::string_view text);

}  // namespace vmm::demonstration

#endif  // TOOLS_DEMONSTRATION_SVG_H_
