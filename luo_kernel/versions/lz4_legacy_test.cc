#include "luo_kernel/versions/lz4_legacy.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace luo {
namespace {

// What `lz4 -l -9` (1.9.4) makes of kText: literals, an overlapping match, long lengths of both
// kinds.
const std::vector<uint8_t> kPacked = {
    0x02, 0x21, 0x4c, 0x18, 0x2c, 0x00, 0x00, 0x00, 0x7f, 0x6b, 0x68, 0x6f, 0x2d,
    0x76, 0x34, 0x20, 0x07, 0x00, 0x02, 0xff, 0x02, 0x6c, 0x75, 0x6f, 0x2d, 0x76,
    0x35, 0x20, 0x6d, 0x65, 0x6d, 0x66, 0x64, 0x2d, 0x76, 0x32, 0x20, 0x61, 0x01,
    0x00, 0x1f, 0xa0, 0x20, 0x65, 0x6e, 0x64, 0x20, 0x6f, 0x66, 0x20, 0x69, 0x74};
const std::string kText =
    "kho-v4 kho-v4 kho-v4 kho-v4 luo-v5 memfd-v2 " + std::string(51, 'a') + " end of it";

absl::Status Unpack(const std::vector<uint8_t>& packed, std::string& out) {
  return UnpackLz4Legacy(packed,
                         absl::MakeSpan(reinterpret_cast<uint8_t*>(out.data()), out.size()));
}

TEST(Lz4LegacyTest, UnpacksABlock) {
  std::string out(kText.size(), 0);
  absl::Status status = Unpack(kPacked, out);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(out, kText);
}

TEST(Lz4LegacyTest, UnpacksBlockAfterBlockAndIgnoresWhatFollows) {
  std::vector<uint8_t> packed = kPacked;
  packed.insert(packed.end(), kPacked.begin() + 4, kPacked.end());
  packed.insert(packed.end(), {0xd2, 0, 0, 0});
  std::string out(2 * kText.size(), 0);
  absl::Status status = Unpack(packed, out);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(out, kText + kText);
}

TEST(Lz4LegacyTest, AnotherSizeIsRefused) {
  for (int off_by : {-50, -1, 1, 50}) {
    std::string out(kText.size() + off_by, 0);
    EXPECT_EQ(Unpack(kPacked, out).code(), absl::StatusCode::kInvalidArgument) << off_by;
  }
}

TEST(Lz4LegacyTest, EveryTruncationIsRefused) {
  std::string out(kText.size(), 0);
  for (size_t size = 0; size < kPacked.size(); ++size) {
    std::vector<uint8_t> cut(kPacked.begin(), kPacked.begin() + size);
    EXPECT_FALSE(Unpack(cut, out).ok()) << size;
    if (size < 8) continue;
    cut[4] = size - 8;  // A block that says it ends here.
    EXPECT_FALSE(Unpack(cut, out).ok()) << size;
  }
}

TEST(Lz4LegacyTest, MatchesReachNeitherBeforeTheBlockNorToThemselves) {
  for (uint8_t distance : {0, 8, 255}) {
    std::vector<uint8_t> packed = kPacked;
    packed[16] = distance;  // Of the first match, after 7 literals.
    std::string out(kText.size(), 0);
    EXPECT_FALSE(Unpack(packed, out).ok()) << int{distance};
  }
}

TEST(Lz4LegacyTest, NoFlippedBitCrashes) {
  for (size_t i = 0; i < kPacked.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<uint8_t> packed = kPacked;
      packed[i] ^= 1 << bit;
      std::string out(kText.size(), 0);
      if (Unpack(packed, out).ok()) {
        EXPECT_GE(i, 8u) << "magic and block size are checked";
      }
    }
  }
}

}  // namespace
}  // namespace luo
