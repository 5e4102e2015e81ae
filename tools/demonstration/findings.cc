#include "tools/demonstration/findings.h"

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "tools/luod/clock.h"

namespace vmm::demonstration {
namespace {

// What a sound guest counts none of, and what it means.
struct Count {
  const char* field;
  const char* meaning;
};
constexpr Count kCounts[] = {
    {"errors", "wrong words in the guest's memory"},
    {"fpu_errors", "wrong values in the guest's vector registers"},
    {"mono_back", "steps back of the guest's CLOCK_MONOTONIC"},
    {"real_back", "steps back of the guest's CLOCK_REALTIME"},
    {"tsc_back", "steps back of the guest's TSC"},
    {"complaints", "complaints in the guest kernel's log"},
};

class Judgement {
 public:
  explicit Judgement(const Evidence& evidence) : evidence_(evidence) {}

  Findings Reach(int exit_code) {
    TakeScenario(exit_code);
    TakeHost();
    TakeGuest();
    TakeTimeline();
    TakeFrames();
    for (const std::string& missing : evidence_.missing) FailForLack("no evidence: ", missing);
    return std::move(findings_);
  }

 private:
  template <typename... Words>
  void Fail(const Words&... words) {
    findings_.failures.push_back(absl::StrCat(words...));
  }

  // A scenario that gave up did not come to all of its evidence: one reason is enough then.
  template <typename... Words>
  void FailForLack(const Words&... words) {
    if (!gave_up_) Fail(words...);
  }

  void TakeScenario(int exit_code) {
    gave_up_ = exit_code != 0;
    if (!evidence_.scenario_failure.empty()) {
      Fail(evidence_.scenario_failure);
    } else if (exit_code == 124) {  // these two are tools/test_host/run's own
      Fail("the test host was stopped: it took too long");
    } else if (exit_code == 125) {
      Fail("the test host ended before its scenario did: its console says why");
    } else if (exit_code != 0) {
      Fail("the test host's scenario ended with ", exit_code);
    }
  }

  void TakeHost() {
    findings_.accelerator = evidence_.accelerator;
    const std::vector<std::string>& ids = evidence_.boot_ids;
    if (ids.size() == 3 && !ids[2].empty()) {
      if (ids[1] == ids[2]) Fail("the host's kernel was not replaced: its boot id is the same");
      findings_.old_kernel = evidence_.kernels[1];
      findings_.new_kernel = evidence_.kernels[2];
    }
    if (evidence_.bare.has_value()) {
      const uint64_t kexec_ns = ReportOf(*evidence_.bare).kexec_ns;
      if (kexec_ns == 0) {
        Fail("luod's record of the bare kexec lacks its times");
      } else {
        findings_.bare_kexec_ms = kexec_ns / 1e6;
      }
    }
  }

  void TakeGuest() {
    const GuestConsole& console = evidence_.console;
    for (const std::string& complaint : console.complaints) Fail("the guest said: ", complaint);
    TakeAnswer("its memory", console.verify, "VERIFY ok", "words", findings_.words_verified);
    TakeAnswer("its registers", console.fpu, "FPU ok", "checks", findings_.vector_checks);
    if (console.status.empty()) return FailForLack("the guest did not answer about its clocks");
    for (const auto& [field, meaning] : kCounts) {
      const absl::string_view count = Field(console.status, field);
      if (count != "0") Fail(count.empty() ? "unknown" : count, " ", meaning);
    }
    findings_.guest_blackout_ms = NumberField(console.status, "maxgap_ms");
    findings_.guest_tsc_blackout_ms = NumberField(console.status, "tscgap_ms");
  }

  // An answer that is not the expected one, or counts nothing, is a failure.
  void TakeAnswer(const char* what, const std::string& answer, const char* expected,
                  const char* field, uint64_t& count) {
    if (answer.empty()) return FailForLack("the guest did not answer about ", what);
    if (!absl::StartsWith(answer, expected)) return Fail("the guest said: ", answer);
    if (!absl::SimpleAtoi(Field(answer, field), &count) || count == 0) {
      Fail("the guest compared nothing of ", what);
    }
  }

  void TakeTimeline() {
    if (!evidence_.update.has_value()) return;
    absl::StatusOr<Timeline> timeline = MakeTimeline(*evidence_.update, HostTimes());
    if (!timeline.ok()) return Fail(timeline.status().message());
    const ManifestVm& vm = evidence_.update->vms[0];
    findings_.guest_cpus = vm.vcpus;
    findings_.guest_memory_bytes = vm.memory_bytes;
    findings_.state_bytes = vm.state_bytes;
    if (timeline->heartbeats_ms.empty() || timeline->heartbeats_ms.back() < timeline->run_ms) {
      Fail("the guest's heart did not beat after the update");
    }
    // The guest must have seen the time pass. Half of it, for no clock of two that are read by
    // different programs is compared to the millisecond here.
    if (findings_.guest_blackout_ms.value_or(timeline->blackout_ms()) <
        timeline->blackout_ms() / 2) {
      Fail("the guest's clock missed the update: it saw ", *findings_.guest_blackout_ms, " of ",
           timeline->blackout_ms(), " ms");
    }
    findings_.timeline = *std::move(timeline);
  }

  // The heartbeats as host TSC values. The offset is the guest's own and must not change.
  std::vector<uint64_t> HostTimes() {
    const auto& [before, after] =
        std::pair(evidence_.tsc_offset_before, evidence_.tsc_offset_after);
    if (!before.has_value() || !after.has_value()) return {};
    if (*before != *after) Fail("the guest's TSC offset changed from ", *before, " to ", *after);
    std::vector<uint64_t> times;
    for (const Heartbeat& beat : evidence_.console.heartbeats) times.push_back(beat.tsc - *after);
    return times;
  }

  void TakeFrames() {
    if (!evidence_.frames_before.has_value()) return;
    const FrameMap& before = *evidence_.frames_before;
    if (evidence_.frames_started.has_value()) {
      absl::StatusOr<uint64_t> moved = MovedPages(*evidence_.frames_started, before);
      if (!moved.ok()) return Fail("rehearsal: ", moved.status().message());
      findings_.pages_moved_by_rehearsal = *moved;
    }
    if (!evidence_.frames_after.has_value()) return;
    absl::StatusOr<uint64_t> moved = MovedPages(before, *evidence_.frames_after);
    if (!moved.ok()) return Fail(moved.status().message());
    findings_.pages_compared = before.pfns.size();
    findings_.pages_moved = *moved;
    findings_.huge_pages = evidence_.frames_after->huge_pages;
    if (*moved != 0) Fail(*moved, " pages of the guest lie in other frames than before");
    const uint64_t guest_pages = findings_.guest_memory_bytes / kPageBytes;
    if (guest_pages != 0 && before.pfns.size() != guest_pages) {
      Fail("the frames of ", before.pfns.size(), " pages are known, the guest has ", guest_pages);
    }
  }

  const Evidence& evidence_;
  Findings findings_;
  bool gave_up_ = false;
};

}  // namespace

Findings Judge(const Evidence& evidence, int exit_code) {
  return Judgement(evidence).Reach(exit_code);
}

}  // namespace vmm::demonstration
