#include "vmm/state/state_frame.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>
#include <zlib.h>

#include <numeric>
#include <string>

namespace vmm {
namespace {

using ::testing::ElementsAreArray;
using ::testing::HasSubstr;

std::vector<uint8_t> Payload() {
  std::vector<uint8_t> payload(300);
  std::iota(payload.begin(), payload.end(), 0);
  return payload;
}

// A frame with one header field changed and the checksum made right again, as a hostile writer
// would.
template <typename Change>
std::vector<uint8_t> Forge(Change change) {
  std::vector<uint8_t> file = FrameState(Payload());
  StateHeader header;
  memcpy(&header, file.data(), sizeof(header));
  change(header);
  header.crc32 = 0;
  StateHeader hashed = header;
  hashed.consumed = 0;
  uLong crc = crc32_z(0, reinterpret_cast<const Bytef*>(&hashed), sizeof(hashed));
  header.crc32 = crc32_z(crc, file.data() + sizeof(header), file.size() - sizeof(header));
  memcpy(file.data(), &header, sizeof(header));
  return file;
}

std::string ErrorOf(absl::Span<const uint8_t> file) {
  auto payload = UnframeState(file);
  EXPECT_FALSE(payload.ok());
  EXPECT_THAT(std::string(payload.status().message()), Not(HasSubstr("\n")));
  return std::string(payload.status().message());
}

TEST(StateFrameTest, RoundTrips) {
  std::vector<uint8_t> file = FrameState(Payload());
  EXPECT_EQ(file.size(), sizeof(StateHeader) + 300);
  auto payload = UnframeState(file);
  ASSERT_TRUE(payload.ok()) << payload.status();
  EXPECT_THAT(*payload, ElementsAreArray(Payload()));
}

TEST(StateFrameTest, HeaderIsWhatFormatMdSays) {
  // The CRC was computed apart from this code (Python's zlib.crc32).
  const std::vector<uint8_t> kFile = {
      'V', 'M', 'M', 'S', 'T', 'A', 'T',  'E',  1,    0,    0, 0, 64, 0, 0,   0,   3,  0,
      0,   0,   0,   0,   0,   0,   0x44, 0x61, 0x76, 0x1f, 0, 0, 0,  0,  //
      0,   0,   0,   0,   0,   0,   0,    0,    0,    0,    0, 0, 0,  0, 0,   0,   0,  0,
      0,   0,   0,   0,   0,   0,   0,    0,    0,    0,    0, 0, 0,  0, 'a', 'b', 'c'};
  EXPECT_THAT(FrameState({'a', 'b', 'c'}), ElementsAreArray(kFile));
}

TEST(StateFrameTest, EveryFlippedBitIsRefused) {
  const std::vector<uint8_t> file = FrameState(Payload());
  for (size_t i = 0; i < file.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<uint8_t> bad = file;
      bad[i] ^= 1 << bit;
      EXPECT_FALSE(UnframeState(bad).ok()) << "byte " << i << " bit " << bit;
    }
  }
}

TEST(StateFrameTest, EveryOtherSizeIsRefused) {
  std::vector<uint8_t> file = FrameState(Payload());
  for (size_t size = 0; size < file.size(); ++size) {
    EXPECT_FALSE(UnframeState(absl::MakeConstSpan(file).subspan(0, size)).ok()) << size;
  }
  file.push_back(0);
  EXPECT_THAT(ErrorOf(file), HasSubstr("300 bytes of payload, but there are 301"));
}

TEST(StateFrameTest, SaysWhatIsWrong) {
  EXPECT_THAT(ErrorOf({}), HasSubstr("shorter than its header"));
  EXPECT_THAT(ErrorOf(Forge([](StateHeader& h) { h.magic[0] = 'X'; })), HasSubstr("magic"));
  EXPECT_THAT(ErrorOf(Forge([](StateHeader& h) { h.version = 2; })), HasSubstr("version 2"));
  EXPECT_THAT(ErrorOf(Forge([](StateHeader& h) { h.header_bytes = 63; })), HasSubstr("63"));
  EXPECT_THAT(ErrorOf(Forge([](StateHeader& h) { h.payload_bytes = ~uint64_t{0}; })),
              HasSubstr("18446744073709551615"));
  EXPECT_THAT(ErrorOf(Forge([](StateHeader& h) { h.reserved[31] = 1; })), HasSubstr("reserved"));
  std::vector<uint8_t> damaged = FrameState(Payload());
  damaged.back() ^= 1;
  EXPECT_THAT(ErrorOf(damaged), HasSubstr("checksum"));
}

TEST(StateFrameTest, AnotherVersionIsToldFromDamage) {
  auto newer = UnframeState(Forge([](StateHeader& h) { h.version = kStateVersion + 1; }));
  EXPECT_EQ(newer.status().code(), absl::StatusCode::kUnimplemented);
}

TEST(StateFrameTest, ConsumedIsToldFromDamage) {
  auto consumed = UnframeState(Forge([](StateHeader& h) { h.consumed = kStateConsumed; }));
  EXPECT_EQ(consumed.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(consumed.status().message()), HasSubstr("already ran on"));

  auto damaged = UnframeState(Forge([](StateHeader& h) { h.consumed = 1; }));
  EXPECT_EQ(damaged.status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(StateFrameTest, TooLargeIsRefusedWhateverItsChecksum) {
  EXPECT_THAT(ErrorOf(FrameState(std::vector<uint8_t>(kMaxTreeBytes + 1))), HasSubstr("at most"));
}

}  // namespace
}  // namespace vmm
