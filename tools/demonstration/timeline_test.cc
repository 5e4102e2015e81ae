#include "tools/demonstration/timeline.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmm::demonstration {
namespace {

using testing::ElementsAre;

Manifest SomeUpdate() {
  Manifest update;
  update.tsc_khz = 10;  // ten ticks are a ms
  update.check_tsc = 100'000;
  update.prepare_tsc = 101'000;
  update.freeze_tsc = 102'000;
  update.kexec_tsc = 103'000;
  update.luod_tsc = 123'000;
  update.retrieved_tsc = 124'000;
  update.vms.push_back({.name = "web1", .pause_tsc = 102'010, .run_tsc = 125'005});
  return update;
}

TEST(TimelineTest, PhasesFollowEachOther) {
  absl::StatusOr<Timeline> timeline = MakeTimeline(SomeUpdate(), {});
  ASSERT_TRUE(timeline.ok()) << timeline.status();
  std::string names;
  double end_ms = 0;
  for (const Phase& phase : timeline->phases) {
    names += phase.name + (phase.guest_runs ? "+ " : "- ");
    EXPECT_EQ(phase.start_ms, end_ms);
    end_ms = phase.end_ms;
  }
  EXPECT_EQ(names, "check+ prepare+ freeze- kexec- retrieve- resume- ");
  EXPECT_EQ(timeline->phases[3].duration_ms(), 2000);
  EXPECT_EQ(timeline->pause_ms, 201);
  EXPECT_EQ(timeline->run_ms, 2500.5);
  EXPECT_EQ(timeline->blackout_ms(), 2299.5);
}

TEST(TimelineTest, ShowsHeartbeatsAroundTheUpdateOnly) {
  absl::StatusOr<Timeline> timeline =
      MakeTimeline(SomeUpdate(), {1, 89'000, 99'000, 126'000, 140'006, UINT64_MAX});
  ASSERT_TRUE(timeline.ok()) << timeline.status();
  EXPECT_THAT(timeline->heartbeats_ms, ElementsAre(-100, 2600));
}

TEST(TimelineTest, RefusesAnUpdateThatDidNotFinish) {
  for (auto breakage : std::vector<void (*)(Manifest&)>{
           [](Manifest& m) { m.vms.clear(); }, [](Manifest& m) { m.vms.push_back(m.vms[0]); },
           [](Manifest& m) { m.tsc_khz = 0; }, [](Manifest& m) { m.luod_tsc = 0; },
           [](Manifest& m) { m.check_tsc = 0; }, [](Manifest& m) { m.vms[0].run_tsc = 0; },
           [](Manifest& m) { m.vms[0].pause_tsc = 0; },
           [](Manifest& m) { m.vms[0].pause_tsc = m.luod_tsc; }}) {
    Manifest update = SomeUpdate();
    breakage(update);
    EXPECT_EQ(MakeTimeline(update, {}).status().code(), absl::StatusCode::kInvalidArgument);
  }
}

}  // namespace
}  // namespace vmm::demonstration
