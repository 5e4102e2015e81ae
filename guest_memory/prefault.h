// Allocates guest RAM ahead of its first use, on several threads.
//
//   RETURN_IF_ERROR(Prefault({absl::MakeSpan(ram, size)}, /*threads=*/4, nullptr));
//
// What the pages hold already is kept, even while somebody writes to them.
#ifndef GUEST_MEMORY_PREFAULT_H_
#define GUEST_MEMORY_PREFAULT_H_

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace vmm {

using PrefaultProgress = std::function<absl::Status(uint64_t done)>;

// Faults in `ranges`, page-aligned mappings, on `threads` threads, the caller's among them (fewer
// where there is less to do). `progress`, which may be null, is called with the bytes done so far,
// by one thread at a time, every 64 MiB; an error that it returns ends the work with that error.
// kResourceExhausted when the host has not enough memory. After an error some pages are allocated.
absl::Status Prefault(absl::Span<const absl::Span<uint8_t>> ranges, int threads,
                      const PrefaultProgress& progress);

// The fallback for kernels without MADV_POPULATE_WRITE (before 5.14): a write to each page, which
// raises SIGBUS when the host has not enough memory.
void TouchPages(absl::Span<uint8_t> range);

}  // namespace vmm

#endif  // GUEST_MEMORY_PREFAULT_H_
