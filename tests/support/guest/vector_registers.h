// Checks that the vector registers keep their values: a guest's XSAVE state has to come through a
// host update with it.
#ifndef TESTS_SUPPORT_GUEST_VECTOR_REGISTERS_H_
#define TESTS_SUPPORT_GUEST_VECTOR_REGISTERS_H_

#include <stdint.h>

namespace vmm::guest {

// Loads known values made from `seed` into XMM0-15 (YMM0-15 where the CPU has AVX), spins `spins`
// turns without touching them, and returns how many of the registers then hold something else.
int CheckVectorRegisters(uint64_t seed, uint64_t spins);

}  // namespace vmm::guest

#endif  // TESTS_SUPPORT_GUEST_VECTOR_REGISTERS_H_
