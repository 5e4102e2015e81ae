// What the scenario of the demonstration left in its share, read into types.
//
//   Evidence evidence = ReadEvidence("/tmp/share");
//   for (const std::string& missing : evidence.missing) ...
//
// A demonstration that failed left less: what is not there, or not as it should be, stays empty and
// is named in `missing`.
#ifndef TOOLS_DEMONSTRATION_EVIDENCE_H_
#define TOOLS_DEMONSTRATION_EVIDENCE_H_

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

#include "tools/demonstration/frames.h"
#include "tools/demonstration/guest_console.h"
#include "tools/luod/manifest.h"

namespace vmm::demonstration {

struct Evidence {
  // What runs the emulated host's instructions: "tcg" (software) or "kvm".
  std::string accelerator;
  // Of each host kernel since power-on: its release, and an id that no two boots share.
  std::vector<std::string> kernels;
  std::vector<std::string> boot_ids;
  // luod's records of the update without a guest and of that with one.
  std::optional<Manifest> bare;
  std::optional<Manifest> update;
  // Once the workload ran, after the rehearsal, after the update.
  std::optional<FrameMap> frames_started;
  std::optional<FrameMap> frames_before;
  std::optional<FrameMap> frames_after;
  // What KVM adds to the host's TSC for the guest.
  std::optional<int64_t> tsc_offset_before;
  std::optional<int64_t> tsc_offset_after;
  GuestConsole console;
  // The scenario's own words when it gave up, or empty.
  std::string scenario_failure;

  std::vector<std::string> missing;
};

Evidence ReadEvidence(const std::string& share);

}  // namespace vmm::demonstration

#endif  // TOOLS_DEMONSTRATION_EVIDENCE_H_
