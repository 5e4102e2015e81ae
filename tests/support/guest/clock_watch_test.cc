#include "tests/support/guest/clock_watch.h"

#include "gtest/gtest.h"

namespace vmm::guest {
namespace {

TEST(ClockWatchTest, FindsTheLargestGap) {
  ClockWatch watch;
  watch.Observe({1000, 5000, 100});
  EXPECT_EQ(watch.report().max_gap_ns, 0);  // One sample has no gap, however late it comes.
  watch.Observe({1010, 5010, 110});
  watch.Observe({1510, 5510, 900});
  watch.Observe({1520, 5520, 910});
  EXPECT_EQ(watch.report().samples, 4u);
  EXPECT_EQ(watch.report().max_gap_ns, 500);
  EXPECT_EQ(watch.report().max_gap_tsc, 790u);
  EXPECT_EQ(watch.last().tsc, 910u);
}

TEST(ClockWatchTest, CountsEachClocksStepsBack) {
  ClockWatch watch;
  watch.Observe({1000, 5000, 100});
  watch.Observe({999, 5001, 101});
  watch.Observe({1001, 4000, 102});
  watch.Observe({1002, 4001, 50});
  EXPECT_EQ(watch.report().monotonic_back, 1u);
  EXPECT_EQ(watch.report().realtime_back, 1u);
  EXPECT_EQ(watch.report().tsc_back, 1u);
  EXPECT_EQ(watch.report().max_gap_tsc, 1u);
}

TEST(ClockWatchTest, EqualIsNoStepBack) {
  ClockWatch watch;
  watch.Observe({1, 1, 1});
  watch.Observe({1, 1, 1});
  EXPECT_EQ(watch.report().monotonic_back + watch.report().realtime_back + watch.report().tsc_back,
            0u);
}

TEST(ClockWatchTest, ResetForgetsGapsOnly) {
  ClockWatch watch;
  watch.Observe({10, 10, 10});
  watch.Observe({500, 5, 700});
  watch.ResetGap();
  EXPECT_EQ(watch.report().max_gap_ns, 0);
  EXPECT_EQ(watch.report().max_gap_tsc, 0u);
  EXPECT_EQ(watch.report().realtime_back, 1u);
}

TEST(ClockWatchTest, RealClocksAdvance) {
  ClockWatch watch;
  for (int i = 0; i < 1000; ++i) watch.Observe(ReadClocks());
  EXPECT_EQ(watch.report().monotonic_back, 0u);
  EXPECT_GT(watch.report().max_gap_ns, 0);
}

}  // namespace
}  // namespace vmm::guest
