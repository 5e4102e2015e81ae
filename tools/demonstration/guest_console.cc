#include "tools/demonstration/guest_console.h"

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"

namespace vmm::demonstration {

absl::string_view Field(absl::string_view line, absl::string_view name) {
  for (absl::string_view word : absl::StrSplit(line, ' ')) {
    if (absl::ConsumePrefix(&word, name) && absl::ConsumePrefix(&word, "=")) return word;
  }
  return "";
}

double NumberField(absl::string_view line, absl::string_view name) {
  double number;
  return absl::SimpleAtod(Field(line, name), &number) ? number : 0;
}

GuestConsole ParseGuestConsole(absl::string_view text) {
  GuestConsole console;
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    line = absl::StripSuffix(line, "\r");
    if (absl::StartsWith(line, "HB ")) {
      Heartbeat beat = {.monotonic_gap_ms = NumberField(line, "maxgap_ms"),
                        .tsc_gap_ms = NumberField(line, "tscgap_ms")};
      if (absl::SimpleAtoi(Field(line, "tsc"), &beat.tsc)) console.heartbeats.push_back(beat);
    } else if (absl::StartsWith(line, "WORKLOAD ")) {
      console.ready = std::string(line);
    } else if (absl::StartsWith(line, "VERIFY ")) {
      console.verify = std::string(line);
    } else if (absl::StartsWith(line, "FPU ")) {
      console.fpu = std::string(line);
    } else if (absl::StartsWith(line, "STATUS ")) {
      console.status = std::string(line);
    } else if (absl::StartsWith(line, "MEMORY-ERROR ") || absl::StartsWith(line, "COMPLAINT ")) {
      console.complaints.emplace_back(line);
    }
  }
  return console;
}

}  // namespace vmm::demonstration
