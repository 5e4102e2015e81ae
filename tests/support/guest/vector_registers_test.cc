#include "tests/support/guest/vector_registers.h"

#include "gtest/gtest.h"

namespace vmm::guest {
namespace {

TEST(VectorRegistersTest, KeepTheirValues) {
  for (uint64_t seed = 0; seed < 16; ++seed) EXPECT_EQ(CheckVectorRegisters(seed, 10'000), 0);
}

TEST(VectorRegistersTest, NoSpinsAreTakenAsOne) { EXPECT_EQ(CheckVectorRegisters(1, 0), 0); }

}  // namespace
}  // namespace vmm::guest
