// What the demonstration's evidence shows: the figures of the report, and whether all went well.
//
//   Findings findings = Judge(ReadEvidence(share), exit_code);
//   if (!findings.ok()) puts(findings.failures[0].c_str());
//
// A figure whose evidence is missing is empty, never guessed; the missing evidence is a failure.
#ifndef TOOLS_DEMONSTRATION_FINDINGS_H_
#define TOOLS_DEMONSTRATION_FINDINGS_H_

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

#include "tools/demonstration/evidence.h"
#include "tools/demonstration/timeline.h"

namespace vmm::demonstration {

struct Findings {
  // Why the demonstration failed, the cause first; empty when it did not.
  std::vector<std::string> failures;
  bool ok() const { return failures.empty(); }

  std::string accelerator;  // of the host, as in the evidence
  std::string old_kernel;
  std::string new_kernel;
  uint32_t guest_cpus = 0;
  uint64_t guest_memory_bytes = 0;

  std::optional<Timeline> timeline;
  // The largest step between two looks, a ms apart, at the guest's CLOCK_MONOTONIC and its TSC.
  std::optional<double> guest_blackout_ms;
  std::optional<double> guest_tsc_blackout_ms;
  // From reboot() to luod's first instruction in the same kernel, with no guest.
  std::optional<double> bare_kexec_ms;

  // Of the update: pages compared by physical frame, and how many were elsewhere afterwards.
  std::optional<uint64_t> pages_compared;
  std::optional<uint64_t> pages_moved;
  // By the rehearsal, out of the memory that the next kernel boots in, while the guest ran.
  std::optional<uint64_t> pages_moved_by_rehearsal;
  std::optional<uint64_t> huge_pages;   // of pages_compared, in 2 MiB folios
  std::optional<uint64_t> state_bytes;  // vCPUs, devices, clocks: what had to be written down
  uint64_t words_verified = 0;          // of the guest's pattern in its memory
  uint64_t vector_checks = 0;           // of known values in its vector registers
};

// `exit_code` is the scenario's.
Findings Judge(const Evidence& evidence, int exit_code);

}  // namespace vmm::demonstration

#endif  // TOOLS_DEMONSTRATION_FINDINGS_H_
