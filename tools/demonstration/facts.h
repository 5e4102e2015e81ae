// The demonstration's findings in words, as the text and the drawing both show them.
//
//   for (const Fact& fact : FactsOf(findings)) printf("%s: %s\n", ...);
#ifndef TOOLS_DEMONSTRATION_FACTS_H_
#define TOOLS_DEMONSTRATION_FACTS_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "tools/demonstration/findings.h"

namespace vmm::demonstration {

struct Fact {
  std::string name;
  std::string value;
  std::vector<std::string> notes;
};

// Those that there is evidence for, the most telling first.
std::vector<Fact> FactsOf(const Findings& findings);

// What happened, and to whom: a headline and a sentence each on the guest and the host.
std::string Headline(const Findings& findings);
std::vector<std::string> Cast(const Findings& findings);

// 1234567 is "1,234,567".
std::string Grouped(uint64_t number);

// "1,235 ms"; below 100 ms with tenths.
std::string Milliseconds(double ms);

// Whole MiB as "512 MiB", others as "1,234 bytes".
std::string Bytes(uint64_t bytes);

}  // namespace vmm::demonstration

#endif  // TOOLS_DEMONSTRATION_FACTS_H_
