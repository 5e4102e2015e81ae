#include "tests/support/guest/vector_registers.h"

#include <string.h>

#include "tests/support/guest/pattern.h"

namespace vmm::guest {
namespace {

constexpr int kRegisters = 16;
constexpr int kYmmBytes = 32;

// The registers' values, 32 bytes each; the SSE variant uses the lower 16.
struct alignas(kYmmBytes) Values {
  uint64_t words[kRegisters][kYmmBytes / sizeof(uint64_t)];
};

// One assembly statement, so that the compiler puts nothing between the loads and the stores.
// clang-format off
#define VMM_EACH_REGISTER(MOVE)                                                        \
  MOVE(0) MOVE(1) MOVE(2) MOVE(3) MOVE(4) MOVE(5) MOVE(6) MOVE(7) MOVE(8) MOVE(9)      \
  MOVE(10) MOVE(11) MOVE(12) MOVE(13) MOVE(14) MOVE(15)
// clang-format on
#define VMM_LOAD_XMM(n) "movdqa 32*" #n "(%[in]), %%xmm" #n "\n"
#define VMM_STORE_XMM(n) "movdqa %%xmm" #n ", 32*" #n "(%[out])\n"
#define VMM_LOAD_YMM(n) "vmovdqa 32*" #n "(%[in]), %%ymm" #n "\n"
#define VMM_STORE_YMM(n) "vmovdqa %%ymm" #n ", 32*" #n "(%[out])\n"
#define VMM_SPIN "1: dec %[spins]\n jnz 1b\n"
#define VMM_CLOBBERS                                                                              \
  "memory", "cc", "xmm0", "xmm1", "xmm2", "xmm3", "xmm4", "xmm5", "xmm6", "xmm7", "xmm8", "xmm9", \
      "xmm10", "xmm11", "xmm12", "xmm13", "xmm14", "xmm15"

void HoldXmm(const Values& in, Values& out, uint64_t spins) {
  asm volatile(VMM_EACH_REGISTER(VMM_LOAD_XMM) VMM_SPIN VMM_EACH_REGISTER(VMM_STORE_XMM)
               : [spins] "+r"(spins)
               : [in] "r"(&in), [out] "r"(&out)
               : VMM_CLOBBERS);
}

void HoldYmm(const Values& in, Values& out, uint64_t spins) {
  asm volatile(VMM_EACH_REGISTER(VMM_LOAD_YMM)
                   VMM_SPIN VMM_EACH_REGISTER(VMM_STORE_YMM) "vzeroupper\n"
               : [spins] "+r"(spins)
               : [in] "r"(&in), [out] "r"(&out)
               : VMM_CLOBBERS);
}

}  // namespace

int CheckVectorRegisters(uint64_t seed, uint64_t spins) {
  Values in;
  uint64_t index = 0;
  for (auto& value : in.words) {
    for (uint64_t& word : value) word = PatternWord(seed, index++, 0);
  }
  Values out = {};
  const bool avx = __builtin_cpu_supports("avx");
  (avx ? HoldYmm : HoldXmm)(in, out, spins == 0 ? 1 : spins);
  int wrong = 0;
  for (int i = 0; i < kRegisters; ++i) {
    wrong += memcmp(in.words[i], out.words[i], avx ? kYmmBytes : kYmmBytes / 2) != 0;
  }
  return wrong;
}

}  // namespace vmm::guest
