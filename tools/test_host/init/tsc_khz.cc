// Prints this machine's TSC frequency in kHz, for the test host's kernel command line
// (tsc_early_khz=).
//
// The emulated TSC is this machine's own, but the emulated PIT and HPET are too coarse to calibrate
// it against: two boots differ by up to 0.2 %, beyond the 250 ppm by which KVM lets a vCPU's TSC
// frequency differ from the host's (arch/x86/kvm/x86.c, tsc_tolerance_ppm). A real Intel host reads
// its frequency from CPUID; an AMD host calibrates too (arch/x86/kernel/tsc.c,
// native_calibrate_tsc()), but against sharper timers.
#include <stdint.h>
#include <stdio.h>
#include <time.h>
#include <x86intrin.h>

namespace {

struct Sample {
  int64_t ns;
  uint64_t tsc;
};

int64_t Now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return time.tv_sec * int64_t{1000000000} + time.tv_nsec;
}

// The sharpest of some pairs: the one whose clock reading took the fewest cycles was not
// interrupted.
Sample TakeSample() {
  Sample best = {};
  uint64_t best_width = UINT64_MAX;
  for (int i = 0; i < 100; ++i) {
    const uint64_t before = __rdtsc();
    const int64_t ns = Now();
    const uint64_t width = __rdtsc() - before;
    if (width >= best_width) continue;
    best_width = width;
    best = {ns, before + width / 2};
  }
  return best;
}

}  // namespace

int main() {
  const Sample first = TakeSample();
  const timespec pause = {0, 100'000'000};
  nanosleep(&pause, nullptr);
  const Sample last = TakeSample();
  const double khz = static_cast<double>(last.tsc - first.tsc) * 1e6 / (last.ns - first.ns);
  printf("%.0f\n", khz);
  return 0;
}
