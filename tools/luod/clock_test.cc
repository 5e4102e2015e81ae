#include "tools/luod/clock.h"

#include <gtest/gtest.h>

#include <limits>
#include <thread>

namespace vmm {
namespace {

TEST(ClockTest, TicksBecomeNanoseconds) {
  EXPECT_EQ(TscToNs(3'000'000, 3'000'000), 1'000'000u);
  EXPECT_EQ(TscToNs(uint64_t{1} << 62, 1'000'000), uint64_t{1} << 62);
  EXPECT_EQ(TscToNs(123, 0), 0u);
  EXPECT_EQ(TscToNs(~uint64_t{0}, 1), std::numeric_limits<uint64_t>::max());
}

TEST(ClockTest, TheTscMeasuresWhatTheSteadyClockDoes) {
  SystemClock clock;
  Clock::TimePoint start = clock.Now();
  uint64_t start_tsc = clock.Tsc();
  std::this_thread::sleep_for(std::chrono::milliseconds(50));
  uint64_t by_tsc = TscToNs(clock.Tsc() - start_tsc, clock.TscKhz());
  uint64_t by_steady = std::chrono::nanoseconds(clock.Now() - start).count();
  EXPECT_GT(by_tsc, 50'000'000u);
  EXPECT_NEAR(static_cast<double>(by_tsc), static_cast<double>(by_steady), by_steady * 0.3);
}

}  // namespace
}  // namespace vmm
