#include "devices/console/byte_ring.h"

#include <gtest/gtest.h>

#include <string>

namespace vmm {
namespace {

void Append(ByteRing& ring, const std::string& text) {
  ring.Append({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

std::string Text(const ByteRing& ring) {
  std::string text(ring.end() - ring.begin(), '?');
  ring.Copy({reinterpret_cast<uint8_t*>(text.data()), text.size()});
  return text;
}

TEST(ByteRingTest, KeepsBytesInOrder) {
  ByteRing ring(8);
  EXPECT_TRUE(ring.empty());
  Append(ring, "abc");
  Append(ring, "def");
  EXPECT_EQ(Text(ring), "abcdef");
  ring.ConsumeTo(4);
  EXPECT_EQ(Text(ring), "ef");
  EXPECT_EQ(ring.begin(), 4u);
  EXPECT_EQ(ring.end(), 6u);
}

TEST(ByteRingTest, DropsTheOldest) {
  ByteRing ring(4);
  Append(ring, "abcdef");
  EXPECT_EQ(Text(ring), "cdef");
  Append(ring, "g");
  EXPECT_EQ(Text(ring), "defg");
  Append(ring, "0123456789");
  EXPECT_EQ(Text(ring), "6789");
  EXPECT_EQ(ring.end(), 17u);
}

TEST(ByteRingTest, CopiesNoMoreThanAsked) {
  ByteRing ring(8);
  Append(ring, "abc");
  uint8_t two[2];
  EXPECT_EQ(ring.Copy(absl::MakeSpan(two)), 2u);
  EXPECT_EQ(two[1], 'b');
  uint8_t many[8];
  EXPECT_EQ(ring.Copy(absl::MakeSpan(many)), 3u);
}

TEST(ByteRingTest, ConsumingWhatWasDroppedOrIsNotThereIsHarmless) {
  ByteRing ring(4);
  Append(ring, "abcdefgh");
  ring.ConsumeTo(2);
  EXPECT_EQ(Text(ring), "efgh");
  ring.ConsumeTo(100);
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.begin(), 8u);
}

TEST(ByteRingTest, OneOfNoCapacityKeepsNothing) {
  ByteRing ring(0);
  Append(ring, "abc");
  EXPECT_TRUE(ring.empty());
  EXPECT_EQ(ring.end(), 3u);
}

}  // namespace
}  // namespace vmm
