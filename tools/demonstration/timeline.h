// The update as a timeline, in the host's time: luod's phases, the guest's pause and its
// heartbeats.
//
//   ASSIGN_OR_RETURN(Timeline timeline, MakeTimeline(manifest, beats));
//
// Times are in ms from the beginning of CHECK. The TSC, which no kexec resets, is the one clock
// behind all of them.
#ifndef TOOLS_DEMONSTRATION_TIMELINE_H_
#define TOOLS_DEMONSTRATION_TIMELINE_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "tools/luod/manifest.h"

namespace vmm::demonstration {

struct Phase {
  std::string name;
  double start_ms = 0;
  double end_ms = 0;
  bool guest_runs = false;  // until the phase's end

  double duration_ms() const { return end_ms - start_ms; }
};

struct Timeline {
  // What is shown: some time before and after the update, for the guest's sake.
  double start_ms = 0;
  double end_ms = 0;
  std::vector<Phase> phases;  // without gaps
  double kexec_ms = 0;        // reboot() was called
  double pause_ms = 0;        // the guest's first vCPU was told to stop
  double run_ms = 0;          // its vCPUs run again
  std::vector<double> heartbeats_ms;

  double blackout_ms() const { return run_ms - pause_ms; }
};

// `heartbeats` are host TSC values; those far from the update are left out. kInvalidArgument where
// the manifest is not of a finished update of one VM.
absl::StatusOr<Timeline> MakeTimeline(const Manifest& update,
                                      const std::vector<uint64_t>& heartbeats);

}  // namespace vmm::demonstration

#endif  // TOOLS_DEMONSTRATION_TIMELINE_H_
