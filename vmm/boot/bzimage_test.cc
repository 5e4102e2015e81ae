#include "vmm/boot/bzimage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

#include "vmm/boot/kernel_image.h"
#include "vmm/boot/test_images.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;

absl::StatusOr<BzImage> Parse(const std::vector<uint8_t>& bytes) {
  return ParseBzImage(SpanSource(bytes));
}

void ExpectRefused(const std::vector<uint8_t>& bytes, const char* why) {
  auto image = Parse(bytes);
  EXPECT_EQ(image.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(image.status().message(), HasSubstr(why));
}

TEST(BzImageTest, SaysWhereThePayloadIsAndGoes) {
  auto image = Parse(TestBzImage().Bytes());
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->payload_offset, 5u * 512);
  EXPECT_EQ(image->payload_size, 0x400u);
  EXPECT_EQ(image->window, (GuestRange{GuestAddress(16 << 20), 4 << 20}));
  EXPECT_EQ(+image->header.version, 0x20f);
}

TEST(BzImageTest, KernelImageRecognisesIt) {
  const std::vector<uint8_t> bytes = TestBzImage().Bytes();
  auto image = ParseKernelImage(SpanSource(bytes));
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_TRUE(std::holds_alternative<BzImage>(*image));
}

TEST(BzImageTest, EfiStubFileIsABzImageToo) {
  std::vector<uint8_t> bytes = TestBzImage().Bytes();
  bytes[0] = 'M';
  bytes[1] = 'Z';
  auto image = ParseKernelImage(SpanSource(bytes));
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_TRUE(std::holds_alternative<BzImage>(*image));
}

TEST(BzImageTest, ZeroSetupSectorsMeansFour) {
  TestBzImage image;
  image.header.setup_sects = 0;
  auto parsed = Parse(image.Bytes());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->payload_offset, 5u * 512);
}

TEST(BzImageTest, SignatureAfterThePayloadIsNotLoaded) {
  std::vector<uint8_t> bytes = TestBzImage().Bytes();
  bytes.resize(bytes.size() + 1472, 0x5a);
  auto image = Parse(bytes);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->payload_size, 0x400u);
}

TEST(BzImageTest, FieldsYoungerThanTheHeaderAreZero) {
  TestBzImage image;
  image.header.version = 0x20c;
  image.header.jump = 0x66eb;  // up to handover_offset
  image.header.kernel_info_offset = 0xdeadbeef;
  auto parsed = Parse(image.Bytes());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(+parsed->header.kernel_info_offset, 0u);
  EXPECT_EQ(+parsed->header.init_size, +image.header.init_size);
}

TEST(BzImageTest, WindowIsAlignedAboveTheFirstMiB) {
  TestBzImage image;
  image.header.pref_address = 0;
  auto parsed = Parse(image.Bytes());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->window.start, GuestAddress(0x200000));

  image.header.relocatable_kernel = 0;
  image.header.pref_address = 0x123000;
  parsed = Parse(image.Bytes());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->window.start, GuestAddress(0x123000));
}

TEST(BzImageTest, WindowHoldsThePayloadWhateverInitSizeSays) {
  TestBzImage image;
  image.header.init_size = 0;
  auto parsed = Parse(image.Bytes());
  ASSERT_TRUE(parsed.ok()) << parsed.status();
  EXPECT_EQ(parsed->window.size, 0x400u);
}

TEST(BzImageTest, EveryTruncationIsRefused) {
  const std::vector<uint8_t> whole = TestBzImage().Bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    const std::vector<uint8_t> cut(whole.begin(), whole.begin() + size);
    EXPECT_FALSE(Parse(cut).ok()) << size;
    EXPECT_FALSE(ParseKernelImage(SpanSource(cut)).ok()) << size;
  }
  ExpectRefused({whole.begin(), whole.begin() + 0x210}, "ends in the setup header");
  ExpectRefused({whole.begin(), whole.end() - 1}, "truncated: 3583 bytes of at least 3584");
}

TEST(BzImageTest, OtherFilesAreNoKernels) {
  ExpectRefused(std::vector<uint8_t>(4096), "HdrS");
  for (const std::vector<uint8_t>& bytes :
       {std::vector<uint8_t>{}, std::vector<uint8_t>(1), std::vector<uint8_t>(4096, 0xaa)}) {
    auto image = ParseKernelImage(SpanSource(bytes));
    EXPECT_EQ(image.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(image.status().message(), HasSubstr("not a kernel"));
  }
}

TEST(BzImageTest, SaysWhyAKernelCannotBeBooted) {
  TestBzImage old;
  old.header.version = 0x206;
  ExpectRefused(old.Bytes(), "boot protocol 2.06 is too old");

  TestBzImage narrow;
  narrow.header.xloadflags = 0;
  ExpectRefused(narrow.Bytes(), "32-bit kernel");

  TestBzImage low;
  low.header.loadflags = 0;
  ExpectRefused(low.Bytes(), "zImage");

  TestBzImage brief;
  brief.header.jump = 0x10eb;
  ExpectRefused(brief.Bytes(), "too short for its version");

  TestBzImage empty;
  empty.header.syssize = 0x20;
  ExpectRefused(empty.Bytes(), "no code");
}

TEST(BzImageTest, HostileHeadersAreRefused) {
  TestBzImage image;
  for (uint32_t alignment : {0u, 3u, 0x200001u}) {
    image.header.kernel_alignment = alignment;
    ExpectRefused(image.Bytes(), "not a power of two");
  }
  image = {};
  image.header.syssize = ~0u;
  ExpectRefused(image.Bytes(), "truncated");
  for (uint64_t address : {~uint64_t{0}, uint64_t{0xc0000000}, uint64_t{1} << 32}) {
    image = {};
    image.header.pref_address = address;
    ExpectRefused(image.Bytes(), "beyond a PC's low RAM");
  }
  image = {};
  image.header.kernel_alignment = 0x80000000;
  image.header.pref_address = 0xb0000000;
  ExpectRefused(image.Bytes(), "beyond a PC's low RAM");
  image = {};
  image.header.init_size = ~0u;
  ExpectRefused(image.Bytes(), "beyond a PC's low RAM");
}

}  // namespace
}  // namespace vmm
