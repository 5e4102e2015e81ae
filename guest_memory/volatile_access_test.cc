#include "guest_memory/volatile_access.h"

#include <gtest/gtest.h>
#include <string.h>

#include <atomic>
#include <numeric>
#include <thread>
#include <vector>

namespace vmm {
namespace {

std::vector<uint8_t> Counting(size_t size) {
  std::vector<uint8_t> bytes(size);
  std::iota(bytes.begin(), bytes.end(), uint8_t{1});
  return bytes;
}

// Every alignment of either side and every size up to some words: nothing is lost, nothing beyond
// is touched.
TEST(VolatileAccessTest, CopiesExactlyTheBytesAtEveryAlignment) {
  for (size_t offset = 0; offset < 8; ++offset) {
    for (size_t size = 0; size <= 40; ++size) {
      alignas(8) uint8_t guest[64] = {};
      const std::vector<uint8_t> bytes = Counting(size);
      CopyToGuest(guest + offset, bytes.data(), size);
      for (size_t i = 0; i < sizeof(guest); ++i) {
        const bool inside = i >= offset && i < offset + size;
        ASSERT_EQ(guest[i], inside ? bytes[i - offset] : 0) << offset << " " << size << " " << i;
      }
      std::vector<uint8_t> out(size);
      CopyFromGuest(guest + offset, out.data(), size);
      ASSERT_EQ(out, bytes) << offset << " " << size;
    }
  }
}

TEST(VolatileAccessTest, FillsExactlyTheBytes) {
  for (size_t offset = 0; offset < 8; ++offset) {
    for (size_t size = 0; size <= 40; ++size) {
      alignas(8) uint8_t guest[64] = {};
      FillGuest(guest + offset, 0xa5, size);
      for (size_t i = 0; i < sizeof(guest); ++i) {
        const bool inside = i >= offset && i < offset + size;
        ASSERT_EQ(guest[i], inside ? 0xa5 : 0) << offset << " " << size << " " << i;
      }
    }
  }
}

// An aligned access made of several would sooner or later show half of one value, half of another.
template <typename Word>
void ExpectAlignedAccessIsWhole() {
  constexpr int kRounds = 20000;
  constexpr Word kOnes = static_cast<Word>(~Word{0});
  alignas(8) uint8_t guest[16] = {};
  uint8_t* const shared = guest + 8 - sizeof(Word) % 8;  // aligned to its own size
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int i = 0; i < kRounds; ++i) {
      const Word word = i % 2 == 0 ? kOnes : Word{0};
      uint8_t bytes[sizeof(Word)];
      memcpy(bytes, &word, sizeof(word));
      CopyToGuest(shared, bytes, sizeof(bytes));
    }
    done = true;
  });
  int torn = 0;
  while (!done) {
    Word seen;
    uint8_t bytes[sizeof(Word)];
    CopyFromGuest(shared, bytes, sizeof(bytes));
    memcpy(&seen, bytes, sizeof(seen));
    if (seen != Word{0} && seen != kOnes) ++torn;
  }
  writer.join();
  EXPECT_EQ(torn, 0);
}

TEST(VolatileAccessTest, AlignedAccessOf2BytesIsWhole) { ExpectAlignedAccessIsWhole<uint16_t>(); }
TEST(VolatileAccessTest, AlignedAccessOf4BytesIsWhole) { ExpectAlignedAccessIsWhole<uint32_t>(); }
TEST(VolatileAccessTest, AlignedAccessOf8BytesIsWhole) { ExpectAlignedAccessIsWhole<uint64_t>(); }

}  // namespace
}  // namespace vmm
