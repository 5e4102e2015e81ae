// What a guest under tests/support/guest's workload printed, in the terms of the demonstration.
//
//   GuestConsole console = ParseGuestConsole(text_of("web1.console.log"));
//   if (!absl::StartsWith(console.verify, "VERIFY ok")) ...
//
// Lines that are not the workload's, or lack a number, are ignored: a kernel prints among them.
#ifndef TOOLS_DEMONSTRATION_GUEST_CONSOLE_H_
#define TOOLS_DEMONSTRATION_GUEST_CONSOLE_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"

namespace vmm::demonstration {

struct Heartbeat {
  uint64_t tsc = 0;  // the guest's
  // The largest step between two looks at a clock since the gap was reset, in ms.
  double monotonic_gap_ms = 0;
  double tsc_gap_ms = 0;
};

struct GuestConsole {
  std::vector<Heartbeat> heartbeats;
  // The last answer to each question, empty where there was none.
  std::string ready;
  std::string verify;
  std::string fpu;
  std::string status;
  // What a guest says only when something is wrong, as it says it.
  std::vector<std::string> complaints;
};

GuestConsole ParseGuestConsole(absl::string_view text);

// The value of NAME=value in a line of words; empty where there is none.
absl::string_view Field(absl::string_view line, absl::string_view name);

// The same as a number; 0 where there is none.
double NumberField(absl::string_view line, absl::string_view name);

}  // namespace vmm::demonstration

#endif  // TOOLS_DEMONSTRATION_GUEST_CONSOLE_H_
