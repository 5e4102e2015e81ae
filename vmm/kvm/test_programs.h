// The guest programs of test_programs.S, as bytes. For tests of vmm/kvm only.
#ifndef VMM_KVM_TEST_PROGRAMS_H_
#define VMM_KVM_TEST_PROGRAMS_H_

#include <stddef.h>
#include <stdint.h>

#include "absl/types/span.h"

#define VMM_TEST_PROGRAM(Name, symbol)                                         \
  extern "C" const uint8_t symbol##_begin[];                                   \
  extern "C" const uint8_t symbol##_end[];                                     \
  inline absl::Span<const uint8_t> Name() {                                    \
    return absl::MakeConstSpan(symbol##_begin, symbol##_end - symbol##_begin); \
  }

namespace vmm {

VMM_TEST_PROGRAM(CountProgram, count)
VMM_TEST_PROGRAM(AvxProgram, avx)
VMM_TEST_PROGRAM(EchoProgram, echo)
VMM_TEST_PROGRAM(InterruptProgram, interrupt)
VMM_TEST_PROGRAM(DeadlineProgram, deadline)
VMM_TEST_PROGRAM(HandlerProgram, handler)

// Ports on which the programs speak.
inline constexpr uint16_t kReadyPort = 0x10;
inline constexpr uint16_t kDonePort = 0x11;
inline constexpr uint16_t kInterruptPort = 0x12;
inline constexpr uint16_t kEchoInPort = 0xe0;
inline constexpr uint16_t kEchoOutPort = 0xe1;

// CountProgram's FXSAVE areas, which it loads before it counts and stores after it; AvxProgram does
// so with their first 32 bytes.
inline constexpr uint64_t kFxLoadAddress = 0x21000;
inline constexpr uint64_t kFxStoreAddress = 0x22000;
inline constexpr size_t kFxSize = 512;

// Where CountProgram looks (`stop`) and reports.
inline constexpr uint64_t kReportAddress = 0x20000;
struct CountReport {
  uint32_t stop;
  uint32_t unused;
  uint64_t count;
  uint64_t r15;
  uint64_t tsc_at_start;
  uint64_t tsc_at_end;
  uint64_t kernel_gs_base;
  uint64_t star;
};
static_assert(sizeof(CountReport) == 0x38);

}  // namespace vmm

#undef VMM_TEST_PROGRAM

#endif  // VMM_KVM_TEST_PROGRAMS_H_
