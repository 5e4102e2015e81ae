#include "tests/support/guest/clock_watch.h"

#include <time.h>
#include <x86intrin.h>

#include <algorithm>

namespace vmm::guest {
namespace {

int64_t Nanoseconds(clockid_t clock) {
  timespec time;
  clock_gettime(clock, &time);
  return time.tv_sec * int64_t{1'000'000'000} + time.tv_nsec;
}

}  // namespace

Clocks ReadClocks() {
  return {Nanoseconds(CLOCK_MONOTONIC), Nanoseconds(CLOCK_REALTIME), __rdtsc()};
}

void ClockWatch::Observe(const Clocks& now) {
  if (report_.samples++ > 0) {
    report_.max_gap_ns = std::max(report_.max_gap_ns, now.monotonic_ns - last_.monotonic_ns);
    if (now.tsc >= last_.tsc) {
      report_.max_gap_tsc = std::max(report_.max_gap_tsc, now.tsc - last_.tsc);
    }
    report_.monotonic_back += now.monotonic_ns < last_.monotonic_ns;
    report_.realtime_back += now.realtime_ns < last_.realtime_ns;
    report_.tsc_back += now.tsc < last_.tsc;
  }
  last_ = now;
}

void ClockWatch::ResetGap() {
  report_.max_gap_ns = 0;
  report_.max_gap_tsc = 0;
}

}  // namespace vmm::guest
