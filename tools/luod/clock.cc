#include "tools/luod/clock.h"

#include <time.h>
#include <x86intrin.h>

#include <limits>

namespace vmm {
namespace {

// Not slewed by NTP, so it runs at the rate of the TSC that drives it.
uint64_t RawNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC_RAW, &now);
  return static_cast<uint64_t>(now.tv_sec) * 1'000'000'000 + now.tv_nsec;
}

}  // namespace

SystemClock::SystemClock() : first_tsc_(__rdtsc()), first_ns_(RawNs()) {}

Clock::TimePoint SystemClock::Now() const { return std::chrono::steady_clock::now(); }

uint64_t SystemClock::Tsc() const { return __rdtsc(); }

uint64_t SystemClock::TscKhz() const {
  uint64_t ns = RawNs() - first_ns_;
  if (ns == 0) return 0;
  return static_cast<uint64_t>(static_cast<double>(__rdtsc() - first_tsc_) / ns * 1e6);
}

uint64_t TscToNs(uint64_t ticks, uint64_t khz) {
  if (khz == 0) return 0;
  const unsigned __int128 ns = static_cast<unsigned __int128>(ticks) * 1'000'000 / khz;
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  return ns > kMost ? kMost : static_cast<uint64_t>(ns);
}

}  // namespace vmm
