// The two clocks of luod: steady time for deadlines, the TSC for durations that span a kexec
// (neither kexec nor the next kernel resets it).
//
//   uint64_t start = clock.Tsc();
//   ...
//   uint64_t ns = TscToNs(clock.Tsc() - start, clock.TscKhz());
#ifndef TOOLS_LUOD_CLOCK_H_
#define TOOLS_LUOD_CLOCK_H_

#include <stdint.h>

#include <chrono>

namespace vmm {

class Clock {
 public:
  using TimePoint = std::chrono::steady_clock::time_point;

  virtual ~Clock() = default;
  virtual TimePoint Now() const = 0;
  virtual uint64_t Tsc() const = 0;
  // The TSC's frequency, measured since the clock was made: good to 1e-4 after some 10 ms. 0 when
  // not known yet.
  virtual uint64_t TscKhz() const = 0;
};

class SystemClock final : public Clock {
 public:
  SystemClock();
  TimePoint Now() const override;
  uint64_t Tsc() const override;
  uint64_t TscKhz() const override;

 private:
  uint64_t first_tsc_;
  uint64_t first_ns_;
};

// 0 when the frequency is not known; the largest number when the result would be larger.
uint64_t TscToNs(uint64_t ticks, uint64_t khz);

}  // namespace vmm

#endif  // TOOLS_LUOD_CLOCK_H_
