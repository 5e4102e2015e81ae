#include "luo_kernel/versions/synthetic_kernel.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <gtest/gtest.h>
#include <lzma.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>
#include <zlib.h>
#include <zstd.h>

#include <random>

namespace luo {
namespace {

constexpr size_t kMuchRoom = size_t{1} << 20;

template <typename T>
void Append(Bytes& bytes, const T& value) {
  const uint8_t* at = reinterpret_cast<const uint8_t*>(&value);
  bytes.insert(bytes.end(), at, at + sizeof(value));
}

void AppendText(Bytes& bytes, absl::string_view text) {
  bytes.insert(bytes.end(), text.begin(), text.end());
}

// Bytes without NUL, so that no string ends in them.
void AppendNoise(Bytes& bytes, size_t size) {
  std::mt19937 random(42);
  for (size_t i = 0; i < size; ++i) bytes.push_back(1 + random() % 255);
}

Bytes Gzip(const Bytes& in) {
  Bytes out(kMuchRoom);
  z_stream stream = {};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY), Z_OK);
  stream.next_in = const_cast<Bytef*>(in.data());
  stream.avail_in = in.size();
  stream.next_out = out.data();
  stream.avail_out = out.size();
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

Bytes RunEncoder(lzma_stream stream, const Bytes& in) {
  Bytes out(kMuchRoom);
  stream.next_in = in.data();
  stream.avail_in = in.size();
  stream.next_out = out.data();
  stream.avail_out = out.size();
  EXPECT_EQ(lzma_code(&stream, LZMA_FINISH), LZMA_STREAM_END);
  out.resize(stream.total_out);
  lzma_end(&stream);
  return out;
}

// With the x86 filter in front, as scripts/xz_wrap.sh has it.
Bytes Xz(const Bytes& in) {
  lzma_options_lzma options;
  EXPECT_FALSE(lzma_lzma_preset(&options, 6));
  const lzma_filter filters[] = {
      {LZMA_FILTER_X86, nullptr}, {LZMA_FILTER_LZMA2, &options}, {LZMA_VLI_UNKNOWN, nullptr}};
  lzma_stream stream = LZMA_STREAM_INIT;
  EXPECT_EQ(lzma_stream_encoder(&stream, filters, LZMA_CHECK_CRC32), LZMA_OK);
  return RunEncoder(stream, in);
}

Bytes Lzma(const Bytes& in) {
  lzma_options_lzma options;
  EXPECT_FALSE(lzma_lzma_preset(&options, 6));
  lzma_stream stream = LZMA_STREAM_INIT;
  EXPECT_EQ(lzma_alone_encoder(&stream, &options), LZMA_OK);
  return RunEncoder(stream, in);
}

Bytes Zstd(const Bytes& in) {
  Bytes out(kMuchRoom);
  out.resize(ZSTD_compress(out.data(), out.size(), in.data(), in.size(), 19));
  return out;
}

}  // namespace

Bytes ElfKernel(const std::vector<std::string>& strings) {
  return ElfKernelWithSection(strings, ".data", "");
}

Bytes ElfKernelWithSection(const std::vector<std::string>& strings, absl::string_view name,
                           absl::string_view content) {
  Bytes elf(sizeof(Elf64_Ehdr));
  AppendNoise(elf, 5000);
  elf.push_back(0);
  for (const std::string& string : strings) {
    AppendText(elf, string);
    elf.push_back(0);
  }
  AppendNoise(elf, 5000);

  Elf64_Shdr section = {};
  section.sh_type = SHT_PROGBITS;
  section.sh_name = 1;
  section.sh_offset = elf.size();
  section.sh_size = content.size();
  AppendText(elf, content);

  Elf64_Shdr names = {};
  names.sh_type = SHT_STRTAB;
  names.sh_offset = elf.size();
  names.sh_size = 1 + name.size() + 1;
  elf.push_back(0);
  AppendText(elf, name);
  elf.push_back(0);

  Elf64_Ehdr header = {};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_shoff = elf.size();
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = 3;
  header.e_shstrndx = 2;
  memcpy(elf.data(), &header, sizeof(header));
  Append(elf, Elf64_Shdr{});
  Append(elf, section);
  Append(elf, names);
  return elf;
}

Bytes Pack(Packing packing, const Bytes& kernel) {
  if (packing == Packing::kNone) return kernel;
  if (packing == Packing::kGzip) return Gzip(kernel);
  Bytes packed = packing == Packing::kXz     ? Xz(kernel)
                 : packing == Packing::kLzma ? Lzma(kernel)
                                             : Zstd(kernel);
  Append(packed, static_cast<uint32_t>(kernel.size()));
  return packed;
}

Bytes BzImage(const Bytes& payload) {
  constexpr size_t kSetupHeaderOffset = 0x1f1;
  constexpr size_t kSetupSectors = 3;
  constexpr size_t kHeadBytes = 100;  // Of protected-mode code before the payload.
  setup_header header = {};
  header.setup_sects = kSetupSectors;
  header.boot_flag = 0xaa55;
  memcpy(&header.header, "HdrS", 4);
  header.version = 0x020f;
  header.loadflags = LOADED_HIGH;
  header.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
  header.relocatable_kernel = 1;
  header.payload_offset = kHeadBytes;
  header.payload_length = payload.size();
  Bytes image((1 + kSetupSectors) * 512 + kHeadBytes);
  memcpy(image.data() + kSetupHeaderOffset, &header, sizeof(header));
  image.insert(image.end(), payload.begin(), payload.end());
  AppendNoise(image, 200);
  return image;
}

vmm::UniqueFd MemfdOf(const Bytes& bytes) {
  vmm::UniqueFd fd(memfd_create("kernel", MFD_CLOEXEC));
  EXPECT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return fd;
}

}  // namespace luo
