#include "vmm/kvm/guest_clock.h"

#include <linux/kvm.h>
#include <time.h>
#include <x86intrin.h>

#include <algorithm>
#include <limits>
#include <optional>

#include "base/status.h"
#include "vmm/kvm/ioctl.h"

namespace vmm {
namespace {

constexpr uint64_t kNsPerSecond = 1'000'000'000;
constexpr uint64_t kMaxDisagreementNs = 5 * kNsPerSecond;
constexpr uint64_t kMillion = 1'000'000;
constexpr uint64_t kTscTolerancePpm = 250;  // KVM's tsc_tolerance_ppm, unless its user sets another

uint64_t Saturate(unsigned __int128 value) {
  constexpr uint64_t kMax = std::numeric_limits<uint64_t>::max();
  return value > kMax ? kMax : static_cast<uint64_t>(value);
}

uint64_t TicksToNs(uint64_t ticks, uint32_t khz) {
  return Saturate(static_cast<unsigned __int128>(ticks) * 1'000'000 / khz);
}

uint64_t NsToTicks(uint64_t ns, uint32_t khz) {
  return Saturate(static_cast<unsigned __int128>(ns) * khz / 1'000'000);
}

bool Agree(uint64_t a, uint64_t b) {
  const uint64_t difference = a > b ? a - b : b - a;
  return difference <= std::max(kMaxDisagreementNs, b / 100);
}

}  // namespace

HostTime HostTime::Now() {
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  return {.tsc = __rdtsc(),
          .realtime_ns = static_cast<uint64_t>(now.tv_sec) * kNsPerSecond + now.tv_nsec};
}

absl::StatusOr<SavedClock> ReadClock(const KvmVm& vm) {
  ASSIGN_OR_RETURN(int khz, VMM_KVM_IOCTL(vm.fd(), KVM_GET_TSC_KHZ, 0));
  if (khz <= 0) return absl::FailedPreconditionError("KVM doesn't know the rate of the host's TSC");
  kvm_clock_data data = {};
  const uint64_t before = __rdtsc();
  RETURN_IF_ERROR(VMM_KVM_IOCTL(vm.fd(), KVM_GET_CLOCK, &data).status());
  HostTime host = HostTime::Now();
  // KVM gives the TSC that belongs to the clock only where all vCPUs share a stable TSC.
  host.tsc = (data.flags & KVM_CLOCK_HOST_TSC) ? data.host_tsc : before + (host.tsc - before) / 2;
  if (data.flags & KVM_CLOCK_REALTIME) host.realtime_ns = data.realtime;
  return SavedClock{.kvmclock_ns = data.clock, .host = host, .tsc_khz = static_cast<uint32_t>(khz)};
}

ContinuedClock ContinueClock(const SavedClock& saved, const HostTime& now) {
  ContinuedClock clock{.host_tsc = now.tsc, .tsc_khz = saved.tsc_khz};
  std::optional<uint64_t> by_tsc;
  if (now.tsc > saved.host.tsc && saved.tsc_khz != 0) {
    by_tsc = TicksToNs(now.tsc - saved.host.tsc, saved.tsc_khz);
  }
  std::optional<uint64_t> by_realtime;
  if (now.realtime_ns >= saved.host.realtime_ns) {
    by_realtime = now.realtime_ns - saved.host.realtime_ns;
  }

  if (by_tsc &&
      (*by_tsc <= kMaxUnconfirmedElapsedNs || (by_realtime && Agree(*by_tsc, *by_realtime)))) {
    clock.source = ElapsedSource::kTsc;
    clock.elapsed_ns = *by_tsc;
  } else {
    if (by_realtime && *by_realtime <= kMaxUnconfirmedElapsedNs) {
      clock.source = ElapsedSource::kRealtime;
      clock.elapsed_ns = *by_realtime;
    }
    // guest = host + offset before and after, so the offset makes up for what the host's TSC should
    // be and isn't.
    clock.tsc_offset_delta = saved.host.tsc + NsToTicks(clock.elapsed_ns, saved.tsc_khz) - now.tsc;
  }
  clock.kvmclock_ns = saved.kvmclock_ns + clock.elapsed_ns;
  return clock;
}

uint64_t KvmclockAt(const ContinuedClock& clock, uint64_t host_tsc) {
  if (host_tsc <= clock.host_tsc || clock.tsc_khz == 0) return clock.kvmclock_ns;
  return clock.kvmclock_ns + TicksToNs(host_tsc - clock.host_tsc, clock.tsc_khz);
}

bool TscRateIsOnlyRecorded(uint32_t guest_khz, uint32_t host_khz) {
  if (guest_khz == 0 || host_khz == 0) return false;
  return guest_khz >= host_khz * (kMillion - kTscTolerancePpm) / kMillion &&
         guest_khz <= host_khz * (kMillion + kTscTolerancePpm) / kMillion;
}

absl::Status SetClock(const KvmVm& vm, const ContinuedClock& clock) {
  kvm_clock_data data = {};
  data.clock = KvmclockAt(clock, __rdtsc());
  return VMM_KVM_IOCTL(vm.fd(), KVM_SET_CLOCK, &data).status();
}

}  // namespace vmm
