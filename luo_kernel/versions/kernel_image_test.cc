#include "luo_kernel/versions/kernel_image.h"

#include <asm/bootparam.h>
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <functional>
#include <string>

#include "base/status.h"
#include "luo_kernel/versions/synthetic_kernel.h"

namespace luo {
namespace {

using ::testing::HasSubstr;

const Bytes& Kernel() {
  static const Bytes kernel = ElfKernel({"kho-v4", "luo-v5"});
  return kernel;
}

absl::Status StatusOf(const Bytes& image) { return ReadKernelImage(MemfdOf(image).get()).status(); }

// The error of an image with one header field changed.
std::string ErrorWith(const std::function<void(setup_header&)>& change) {
  Bytes image = BzImage(Pack(Packing::kGzip, Kernel()));
  setup_header header;
  memcpy(&header, image.data() + 0x1f1, sizeof(header));
  change(header);
  memcpy(image.data() + 0x1f1, &header, sizeof(header));
  absl::Status status = StatusOf(image);
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
  return std::string(status.message());
}

class PackedKernelTest : public ::testing::TestWithParam<Packing> {};

TEST_P(PackedKernelTest, IsUnpacked) {
  auto kernel = ReadKernelImage(MemfdOf(BzImage(Pack(GetParam(), Kernel()))).get());
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_EQ(*kernel, Kernel());
}

TEST_P(PackedKernelTest, CutShortIsRefused) {
  Bytes packed = Pack(GetParam(), Kernel());
  for (size_t size : {size_t{0}, size_t{3}, size_t{30}, packed.size() / 2, packed.size() - 20}) {
    Bytes cut(packed.begin(), packed.begin() + size);
    // The size at its end stays true.
    if (size > 4) memcpy(cut.data() + size - 4, packed.data() + packed.size() - 4, 4);
    absl::Status status = StatusOf(BzImage(cut));
    if (GetParam() == Packing::kNone && size > 4) continue;  // Any ELF file is as good as another.
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << size << ": " << status;
  }
}

TEST_P(PackedKernelTest, NoDamagedByteCrashes) {
  const Bytes packed = Pack(GetParam(), Kernel());
  for (size_t i = 0; i < packed.size(); i += 37) {
    Bytes damaged = packed;
    damaged[i] ^= 0x55;
    auto kernel = ReadKernelImage(MemfdOf(BzImage(damaged)).get());
    if (kernel.ok()) {
      EXPECT_EQ(kernel->size(), Kernel().size()) << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Packings, PackedKernelTest,
                         ::testing::Values(Packing::kNone, Packing::kGzip, Packing::kXz,
                                           Packing::kLzma, Packing::kZstd));

TEST(KernelImageTest, TheSizeAtTheEndMustBeTrue) {
  for (Packing packing : {Packing::kGzip, Packing::kXz, Packing::kLzma, Packing::kZstd}) {
    for (int32_t off_by : {-1, 1}) {
      Bytes packed = Pack(packing, Kernel());
      const uint32_t lie = Kernel().size() + off_by;
      memcpy(packed.data() + packed.size() - 4, &lie, 4);
      absl::Status status = StatusOf(BzImage(packed));
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr("damaged"));
    }
  }
}

TEST(KernelImageTest, AnImplausibleSizeIsNotAllocated) {
  Bytes packed = Pack(Packing::kGzip, Kernel());
  const uint32_t lie = 0xffffffff;
  memcpy(packed.data() + packed.size() - 4, &lie, 4);
  EXPECT_THAT(std::string(StatusOf(BzImage(packed)).message()), HasSubstr("claims to unpack to"));
}

TEST(KernelImageTest, WhatUnpacksToNoElfFileIsRefused) {
  EXPECT_THAT(std::string(StatusOf(BzImage(Pack(Packing::kZstd, Bytes(100, 'x')))).message()),
              HasSubstr("no ELF"));
}

TEST(KernelImageTest, OtherCompressionsCannotBeTold) {
  for (const char* magic : {"BZh9....", "\x89LZO....", "????...."}) {
    Bytes payload(magic, magic + 8);
    memset(payload.data() + 4, 0, 4);
    absl::Status status = StatusOf(BzImage(payload));
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented) << status;
  }
}

TEST(KernelImageTest, WhatKexecWouldRefuseIsRefused) {
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.boot_flag = 0; }), HasSubstr("not a bzImage"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.header = 0; }), HasSubstr("not a bzImage"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.version = 0x020b; }), HasSubstr("2.11"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.loadflags = 0; }), HasSubstr("zImage"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.xloadflags = XLF_KERNEL_64; }), HasSubstr("4 GiB"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.relocatable_kernel = 0; }),
              HasSubstr("CONFIG_RELOCATABLE"));
}

TEST(KernelImageTest, APayloadOutsideOfTheFileIsRefused) {
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.payload_offset = 0; }), HasSubstr("no payload"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.payload_offset = 0xffffffff; }),
              HasSubstr("outside"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.payload_length += 10000; }), HasSubstr("outside"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.payload_length = 0xffffffff; }),
              HasSubstr("4294967295 bytes"));
  EXPECT_THAT(ErrorWith([](setup_header& h) { h.setup_sects = 255; }), HasSubstr("outside"));
}

TEST(KernelImageTest, FilesThatAreNoImageAreRefused) {
  EXPECT_EQ(vmm::StatusErrno(ReadKernelImage(-1).status()), EBADF);
  EXPECT_FALSE(StatusOf({}).ok());
  EXPECT_FALSE(StatusOf(Bytes(100000)).ok());
  EXPECT_THAT(std::string(StatusOf(Kernel()).message()), HasSubstr("not a bzImage"));
  vmm::UniqueFd zero(open("/dev/zero", O_RDONLY | O_CLOEXEC));
  EXPECT_THAT(std::string(ReadKernelImage(zero.get()).status().message()), HasSubstr("not a file"));
}

}  // namespace
}  // namespace luo
