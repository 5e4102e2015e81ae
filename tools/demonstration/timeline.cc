#include "tools/demonstration/timeline.h"

#include <iterator>

#include "absl/status/status.h"

namespace vmm::demonstration {
namespace {

constexpr double kShownBeforeMs = 1000;
constexpr double kShownAfterMs = 1500;

}  // namespace

absl::StatusOr<Timeline> MakeTimeline(const Manifest& update,
                                      const std::vector<uint64_t>& heartbeats) {
  if (update.vms.size() != 1 || update.tsc_khz == 0) {
    return absl::InvalidArgumentError("luod's record of the update is not of one VM");
  }
  const ManifestVm& vm = update.vms[0];
  const uint64_t bounds[] = {update.check_tsc, update.prepare_tsc, update.freeze_tsc,
                             update.kexec_tsc, update.luod_tsc,    update.retrieved_tsc,
                             vm.run_tsc};
  const char* const names[] = {"check", "prepare", "freeze", "kexec", "retrieve", "resume"};
  auto ms = [&update](uint64_t tsc) {
    const auto ticks = static_cast<int64_t>(tsc - update.check_tsc);
    return static_cast<double>(ticks) / static_cast<double>(update.tsc_khz);
  };
  Timeline timeline;
  for (size_t i = 0; i < std::size(names); ++i) {
    if (bounds[i] == 0 || bounds[i + 1] < bounds[i]) {
      return absl::InvalidArgumentError("luod's record of the update lacks times");
    }
    timeline.phases.push_back({.name = names[i],
                               .start_ms = ms(bounds[i]),
                               .end_ms = ms(bounds[i + 1]),
                               .guest_runs = bounds[i + 1] <= vm.pause_tsc});
  }
  if (vm.pause_tsc < update.freeze_tsc || vm.pause_tsc > update.kexec_tsc) {
    return absl::InvalidArgumentError("luod's record has the guest's pause outside of FREEZE");
  }
  timeline.kexec_ms = ms(update.kexec_tsc);
  timeline.pause_ms = ms(vm.pause_tsc);
  timeline.run_ms = ms(vm.run_tsc);
  timeline.start_ms = -kShownBeforeMs;
  timeline.end_ms = timeline.run_ms + kShownAfterMs;
  for (uint64_t beat : heartbeats) {
    const double at = ms(beat);
    if (at >= timeline.start_ms && at <= timeline.end_ms) timeline.heartbeats_ms.push_back(at);
  }
  return timeline;
}

}  // namespace vmm::demonstration
