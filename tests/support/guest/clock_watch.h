// Watches a guest's clocks from inside: the longest time in which the guest did not run (the
// blackout as it saw it), and every step backwards.
//
//   ClockWatch watch;
//   watch.Observe(ReadClocks());       // About every millisecond, from one thread.
//   watch.report().max_gap_ns;
//
// The gap is told twice: by CLOCK_MONOTONIC, which shows a pause only where the VMM lets the
// guest's clock catch up, and by the time-stamp counter, which a kexec of the host does not reset.
// Not synchronised: one thread at a time.
#ifndef TESTS_SUPPORT_GUEST_CLOCK_WATCH_H_
#define TESTS_SUPPORT_GUEST_CLOCK_WATCH_H_

#include <stdint.h>

namespace vmm::guest {

struct Clocks {
  int64_t monotonic_ns = 0;
  int64_t realtime_ns = 0;
  uint64_t tsc = 0;
};

Clocks ReadClocks();

class ClockWatch {
 public:
  struct Report {
    uint64_t samples = 0;
    int64_t max_gap_ns = 0;       // Between two samples, by CLOCK_MONOTONIC.
    uint64_t max_gap_tsc = 0;     // Between two samples, in cycles.
    uint64_t monotonic_back = 0;  // Steps backwards, of each clock.
    uint64_t realtime_back = 0;
    uint64_t tsc_back = 0;
  };

  void Observe(const Clocks& now);

  // Forgets the largest gaps; backward steps stay counted.
  void ResetGap();

  const Report& report() const { return report_; }
  const Clocks& last() const { return last_; }

 private:
  Clocks last_;
  Report report_;
};

}  // namespace vmm::guest

#endif  // TESTS_SUPPORT_GUEST_CLOCK_WATCH_H_
