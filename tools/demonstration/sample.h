// A demonstration that went well, for the tests of what is made of it.
#ifndef TOOLS_DEMONSTRATION_SAMPLE_H_
#define TOOLS_DEMONSTRATION_SAMPLE_H_

#include "tools/demonstration/findings.h"

namespace vmm::demonstration {

// The guest stands still from 250 ms to 2500 ms.
inline Evidence SampleEvidence() {
  constexpr uint64_t kStart = 1'000'000'000;  // of CHECK, in ticks
  constexpr uint64_t kMs = 1000;              // ticks
  constexpr int64_t kOffset = -400'000'000;
  Evidence evidence;
  evidence.accelerator = "tcg";
  evidence.kernels = {"7.3.4", "7.3.4", "7.3.5"};
  evidence.boot_ids = {"a", "b", "c"};
  evidence.bare =
      Manifest{.tsc_khz = kMs, .kexec_tsc = 500'000'000, .luod_tsc = 500'000'000 + 1800 * kMs};
  evidence.update = Manifest{.generation = 2,
                             .old_kernel = "7.3.4",
                             .tsc_khz = kMs,
                             .check_tsc = kStart,
                             .prepare_tsc = kStart + 200 * kMs,
                             .freeze_tsc = kStart + 240 * kMs,
                             .kexec_tsc = kStart + 300 * kMs,
                             .luod_tsc = kStart + 2300 * kMs,
                             .retrieved_tsc = kStart + 2400 * kMs};
  evidence.update->vms.push_back({.name = "web1",
                                  .vcpus = 2,
                                  .memory_bytes = 2 << 20,
                                  .state_bytes = 28137,
                                  .pause_tsc = kStart + 250 * kMs,
                                  .run_tsc = kStart + 2500 * kMs});
  FrameMap map;
  map.huge_pages = 512;
  for (uint64_t pfn = 0x1000; pfn < 0x1200; ++pfn) map.pfns.push_back(pfn);
  evidence.frames_before = map;
  evidence.frames_after = map;
  map.pfns[0] = map.pfns[1] = 7;
  evidence.frames_started = map;
  evidence.tsc_offset_before = kOffset;
  evidence.tsc_offset_after = kOffset;
  for (uint64_t ms : {0, 100, 200, 2550, 2650, 2750}) {
    evidence.console.heartbeats.push_back({.tsc = kStart + kOffset + ms * kMs});
  }
  evidence.console.verify = "VERIFY ok words=262144";
  evidence.console.fpu = "FPU ok checks=1234 errors=0";
  evidence.console.status =
      "STATUS n=6 maxgap_ms=2252.500 tscgap_ms=2252.501 errors=0 fpu_errors=0 mono_back=0 "
      "real_back=0 tsc_back=0 complaints=0";
  return evidence;
}

inline Findings SampleFindings() { return Judge(SampleEvidence(), 0); }

}  // namespace vmm::demonstration

#endif  // TOOLS_DEMONSTRATION_SAMPLE_H_
