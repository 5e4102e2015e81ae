// What the kernel fuzzers share: loading the input as a guest's kernel, into RAM that lives as long
// as the process.
#ifndef TESTS_FUZZ_LOAD_GUEST_H_
#define TESTS_FUZZ_LOAD_GUEST_H_

#include <stdint.h>

#include "absl/types/span.h"

namespace vmm {

// Aborts when the loader takes the input and gives an entry outside RAM.
void LoadAsGuest(absl::Span<const uint8_t> kernel);

}  // namespace vmm

#endif  // TESTS_FUZZ_LOAD_GUEST_H_
