// The demonstration's findings as lines for a terminal: a bar a phase, then the facts. No colour,
// UTF-8, at most 100 columns.
//
//   fputs(Text(findings).c_str(), stdout);
#ifndef TOOLS_DEMONSTRATION_TEXT_H_
#define TOOLS_DEMONSTRATION_TEXT_H_

#include <string>

#include "tools/demonstration/findings.h"

namespace vmm::demonstration {

std::string Text(const Findings& findings);

}  // namespace vmm::demonstration

#endif  // TOOLS_DEMONSTRATION_TEXT_H_
