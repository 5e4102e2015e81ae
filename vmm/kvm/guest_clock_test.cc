#include "vmm/kvm/guest_clock.h"

#include <limits>

#include "gtest/gtest.h"

namespace vmm {
namespace {

constexpr uint64_t kSecond = 1'000'000'000;
constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();

constexpr SavedClock kSaved = {
    .kvmclock_ns = 100 * kSecond,
    .host = {.tsc = 5'000'000'000'000, .realtime_ns = 1'800'000'000 * kSecond},
    .tsc_khz = 2'500'000};

HostTime Later(double tsc_seconds, double realtime_seconds) {
  return {.tsc = kSaved.host.tsc + static_cast<int64_t>(tsc_seconds * 2.5e9),
          .realtime_ns = kSaved.host.realtime_ns + static_cast<int64_t>(realtime_seconds * 1e9)};
}

TEST(ContinueClockTest, FollowsTheTscWhileTheRtcIsCoarse) {
  const ContinuedClock clock = ContinueClock(kSaved, Later(1.25, 2));
  EXPECT_EQ(clock.source, ElapsedSource::kTsc);
  EXPECT_EQ(clock.elapsed_ns, 1'250'000'000u);
  EXPECT_EQ(clock.kvmclock_ns, 101'250'000'000u);
  EXPECT_EQ(clock.tsc_offset_delta, 0u);
}

TEST(ContinueClockTest, FollowsTheTscWhenTheRtcWentBackwards) {
  const ContinuedClock clock = ContinueClock(kSaved, Later(2, -7200));
  EXPECT_EQ(clock.source, ElapsedSource::kTsc);
  EXPECT_EQ(clock.elapsed_ns, 2 * kSecond);
}

TEST(ContinueClockTest, BelievesALongTimeWhenBothClocksSayIt) {
  const ContinuedClock clock = ContinueClock(kSaved, Later(20'000, 20'100));
  EXPECT_EQ(clock.source, ElapsedSource::kTsc);
  EXPECT_EQ(clock.elapsed_ns, 20'000 * kSecond);
}

TEST(ContinueClockTest, AfterATscResetTheGuestsTscGoesOnFromItsLastValue) {
  const HostTime now = {.tsc = 1'000'000, .realtime_ns = kSaved.host.realtime_ns + 3 * kSecond};
  const ContinuedClock clock = ContinueClock(kSaved, now);
  EXPECT_EQ(clock.source, ElapsedSource::kRealtime);
  EXPECT_EQ(clock.elapsed_ns, 3 * kSecond);
  const uint64_t offset = 0 - uint64_t{4'000'000'000'000};  // the guest booted at this host TSC
  const uint64_t guest_before = kSaved.host.tsc + offset;
  EXPECT_EQ(now.tsc + offset + clock.tsc_offset_delta, guest_before + 3 * 2'500'000'000ull);
}

TEST(ContinueClockTest, AnUnbelievableTscIsCorrectedByRealtime) {
  const ContinuedClock clock = ContinueClock(kSaved, Later(1e6, 4));
  EXPECT_EQ(clock.source, ElapsedSource::kRealtime);
  EXPECT_EQ(clock.elapsed_ns, 4 * kSecond);
  EXPECT_EQ(clock.tsc_offset_delta, 0 - static_cast<uint64_t>((1e6 - 4) * 2.5e9));
}

TEST(ContinueClockTest, WithNoSensibleClockTimeStandsStill) {
  const ContinuedClock clock = ContinueClock(kSaved, Later(-10, -10));
  EXPECT_EQ(clock.source, ElapsedSource::kNone);
  EXPECT_EQ(clock.elapsed_ns, 0u);
  EXPECT_EQ(clock.kvmclock_ns, kSaved.kvmclock_ns);
  EXPECT_EQ(clock.tsc_offset_delta, uint64_t{25'000'000'000});
  EXPECT_EQ(ContinueClock(kSaved, Later(-10, 1e6)).source, ElapsedSource::kNone);
}

TEST(ContinueClockTest, ExtremesDoNotOverflow) {
  // 2^64 ticks at 1 kHz are past 2^64 ns.
  SavedClock saved = {.kvmclock_ns = 1, .host = {}, .tsc_khz = 1};
  ContinuedClock clock = ContinueClock(saved, {.tsc = kMax, .realtime_ns = kMax});
  EXPECT_EQ(clock.source, ElapsedSource::kTsc);
  EXPECT_EQ(clock.elapsed_ns, kMax);
  // A day at 4 GHz needs more than 64 bits on the way.
  saved = {.kvmclock_ns = 0, .host = {}, .tsc_khz = 4'000'000};
  clock = ContinueClock(saved, {.tsc = 86400 * 4'000'000'000ull, .realtime_ns = 86400 * kSecond});
  EXPECT_EQ(clock.elapsed_ns, 86400 * kSecond);
  saved.tsc_khz = 0;
  clock = ContinueClock(saved, {.tsc = 1, .realtime_ns = kSecond});
  EXPECT_EQ(clock.source, ElapsedSource::kRealtime);
}

TEST(KvmclockAtTest, RunsOnAtTheTscsRateAndNeverBack) {
  const ContinuedClock clock = ContinueClock(kSaved, Later(1, 1));
  EXPECT_EQ(KvmclockAt(clock, clock.host_tsc), 101 * kSecond);
  EXPECT_EQ(KvmclockAt(clock, clock.host_tsc + 2'500'000), 101 * kSecond + 1'000'000);
  EXPECT_EQ(KvmclockAt(clock, clock.host_tsc - 2'500'000), 101 * kSecond);
}

TEST(TscRateTest, IsOnlyRecordedWithin250Ppm) {
  constexpr uint32_t kHost = 2'500'000;  // 250 ppm are 625
  EXPECT_TRUE(TscRateIsOnlyRecorded(kHost, kHost));
  EXPECT_TRUE(TscRateIsOnlyRecorded(kHost + 625, kHost));
  EXPECT_TRUE(TscRateIsOnlyRecorded(kHost - 625, kHost));
  EXPECT_FALSE(TscRateIsOnlyRecorded(kHost + 626, kHost));
  EXPECT_FALSE(TscRateIsOnlyRecorded(kHost - 626, kHost));
  EXPECT_FALSE(TscRateIsOnlyRecorded(kHost / 2, kHost));
  EXPECT_FALSE(TscRateIsOnlyRecorded(kHost * 2 / 3 * 2, kHost));
}

TEST(TscRateTest, RoundsAsKvmDoes) {
  // 2'499'374.25 to 2'500'623.75 for KVM, which rounds both down.
  constexpr uint32_t kHost = 2'499'999;
  EXPECT_TRUE(TscRateIsOnlyRecorded(2'499'374, kHost));
  EXPECT_FALSE(TscRateIsOnlyRecorded(2'499'373, kHost));
  EXPECT_TRUE(TscRateIsOnlyRecorded(2'500'623, kHost));
  EXPECT_FALSE(TscRateIsOnlyRecorded(2'500'624, kHost));
}

TEST(TscRateTest, AnUnknownRateIsNotSet) {
  EXPECT_FALSE(TscRateIsOnlyRecorded(0, 2'500'000));
  EXPECT_FALSE(TscRateIsOnlyRecorded(2'500'000, 0));
  EXPECT_FALSE(TscRateIsOnlyRecorded(0, 0));
}

TEST(TscRateTest, ExtremesDoNotOverflow) {
  constexpr uint32_t kMaxKhz = std::numeric_limits<uint32_t>::max();
  EXPECT_TRUE(TscRateIsOnlyRecorded(kMaxKhz, kMaxKhz));
  EXPECT_FALSE(TscRateIsOnlyRecorded(1, kMaxKhz));
  EXPECT_FALSE(TscRateIsOnlyRecorded(kMaxKhz, 1));
}

}  // namespace
}  // namespace vmm
