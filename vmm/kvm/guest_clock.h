// A guest's time across a live update: it jumps forward by the blackout and never backwards.
//
//   ASSIGN_OR_RETURN(SavedClock saved, ReadClock(vm));                 // vCPUs paused
//   ...
//   ContinuedClock clock = ContinueClock(saved, HostTime::Now());      // once a VM
//   RestoreVcpu(vcpu, node, clock.tsc_offset_delta);                   // each vCPU
//   RETURN_IF_ERROR(SetClock(vm, clock));                              // last
//
// A guest tells time by its TSC and by the kvmclock. A kexec doesn't reset the host's TSC, so how
// long the guest was away is the difference of two readings of it, and the guest's TSC goes on with
// the same offset. The new kernel's CLOCK_REALTIME comes from the RTC, good to a second: it is
// asked only where the TSC makes no sense (it was reset after all), and then the guest's TSC gets
// an offset that makes it go on from its last value, moved by the time that passed.
//
// Guest and host TSC run at one rate: a live update stays on the machine it began on, even where
// its TSC was reset. Every boot may measure another number for that rate, though, and KVM must not
// be made to scale by the difference (TscRateIsOnlyRecorded()).
#ifndef VMM_KVM_GUEST_CLOCK_H_
#define VMM_KVM_GUEST_CLOCK_H_

#include <stdint.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "vmm/kvm/kvm_vm.h"

namespace vmm {

// One moment on the host's two clocks that a kexec doesn't stop.
struct HostTime {
  uint64_t tsc = 0;
  uint64_t realtime_ns = 0;  // CLOCK_REALTIME

  static HostTime Now();
};

struct SavedClock {
  uint64_t kvmclock_ns = 0;
  HostTime host;         // when the kvmclock was that
  uint32_t tsc_khz = 0;  // the host TSC's rate, not 0
};

enum class ElapsedSource { kTsc, kRealtime, kNone };

struct ContinuedClock {
  ElapsedSource source = ElapsedSource::kNone;  // what elapsed_ns was read off
  uint64_t elapsed_ns = 0;                      // since the clock was saved
  uint64_t tsc_offset_delta = 0;                // to add to each vCPU's TSC offset, modulo 2^64
  uint64_t kvmclock_ns = 0;                     // the kvmclock when the host's TSC is `host_tsc`
  uint64_t host_tsc = 0;
  uint32_t tsc_khz = 0;
};

// Time away is believed up to this long on the word of one clock; the TSC is believed beyond where
// CLOCK_REALTIME agrees to 1 % or 5 s.
inline constexpr uint64_t kMaxUnconfirmedElapsedNs = uint64_t{3600} * 1'000'000'000;

// The kvmclock now, and the host's TSC at the same moment.
absl::StatusOr<SavedClock> ReadClock(const KvmVm& vm);

// Pure arithmetic; any input gives an answer.
ContinuedClock ContinueClock(const SavedClock& saved, const HostTime& now);

// The kvmclock at a later moment, given by the host's TSC.
uint64_t KvmclockAt(const ContinuedClock& clock, uint64_t host_tsc);

// Whether KVM_SET_TSC_KHZ with `guest_khz` leaves the guest's TSC unscaled where the host's kernel
// measured `host_khz`: KVM takes up to 250 ppm for an error of measurement and only keeps the
// number. Beyond that it scales, or where the hardware can't, moves the guest's TSC at every entry.
// Either way guest TSC = host TSC + offset no longer holds, by which offsets are saved: 300 ppm of
// a host that has been up for 30 days are 13 minutes. False where either rate is 0, that is not
// known. (Linux 7.3, arch/x86/kvm/x86.c: kvm_set_tsc_khz(), whose rounding this has.)
bool TscRateIsOnlyRecorded(uint32_t guest_khz, uint32_t host_khz);

// Sets the VM's kvmclock to what it has become by now.
absl::Status SetClock(const KvmVm& vm, const ContinuedClock& clock);

}  // namespace vmm

#endif  // VMM_KVM_GUEST_CLOCK_H_
