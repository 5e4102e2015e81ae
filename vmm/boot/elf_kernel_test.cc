#include "vmm/boot/elf_kernel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <utility>
#include <vector>

#include "vmm/boot/kernel_image.h"
#include "vmm/boot/test_images.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;
using ::testing::SizeIs;

absl::StatusOr<ElfKernel> Parse(const std::vector<uint8_t>& bytes) {
  return ParseElfKernel(SpanSource(bytes));
}

void ExpectRefused(const TestElf& elf, const char* why) {
  auto kernel = Parse(elf.Bytes());
  EXPECT_EQ(kernel.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(kernel.status().message(), HasSubstr(why));
}

// `elf` with these notes in place of its own.
TestElf WithNotes(TestElf elf, std::vector<uint8_t> notes, uint64_t alignment = 4) {
  Elf64_Phdr& header = elf.program_headers[2];
  header.p_offset = elf.contents_offset() + elf.contents.size();
  header.p_filesz = notes.size();
  header.p_align = alignment;
  elf.contents.insert(elf.contents.end(), notes.begin(), notes.end());
  return elf;
}

TEST(ElfKernelTest, SaysWhatGoesWhereAndHowToEnter) {
  auto kernel = Parse(TestElf().Bytes());
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  ASSERT_THAT(kernel->segments, SizeIs(2));
  EXPECT_EQ(kernel->segments[0].range, (GuestRange{GuestAddress(TestElf::kText), 64}));
  EXPECT_EQ(kernel->segments[0].file_size, 64u);
  EXPECT_EQ(kernel->segments[1].range,
            (GuestRange{GuestAddress(TestElf::kData), TestElf::kDataMemory}));
  EXPECT_EQ(kernel->segments[1].file_size, 32u);
  EXPECT_EQ(kernel->entry, GuestAddress(TestElf::kEntry));
  EXPECT_EQ(kernel->window(), (GuestRange{GuestAddress(TestElf::kText),
                                          TestElf::kData + TestElf::kDataMemory - TestElf::kText}));
}

TEST(ElfKernelTest, KernelImageRecognisesIt) {
  const std::vector<uint8_t> bytes = TestElf().Bytes();
  auto image = ParseKernelImage(SpanSource(bytes));
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_TRUE(std::holds_alternative<ElfKernel>(*image));
}

TEST(ElfKernelTest, SegmentsComeSortedAndEmptyOnesNotAtAll) {
  TestElf elf;
  std::swap(elf.program_headers[0], elf.program_headers[1]);
  auto kernel = Parse(elf.Bytes());
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_EQ(kernel->segments[0].range.start, GuestAddress(TestElf::kText));

  elf = {};
  elf.program_headers[1].p_filesz = elf.program_headers[1].p_memsz = 0;
  kernel = Parse(elf.Bytes());
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_THAT(kernel->segments, SizeIs(1));
}

TEST(ElfKernelTest, EveryTruncationIsRefused) {
  const std::vector<uint8_t> whole = TestElf().Bytes();
  for (size_t size = 0; size < whole.size(); ++size) {
    EXPECT_FALSE(Parse({whole.begin(), whole.begin() + size}).ok()) << size;
  }
}

TEST(ElfKernelTest, OtherKindsOfElfAreRefused) {
  TestElf elf;
  elf.header.e_ident[0] = 0;
  ExpectRefused(elf, "not an ELF file");
  elf = {};
  elf.header.e_ident[EI_CLASS] = ELFCLASS32;
  ExpectRefused(elf, "32-bit");
  elf = {};
  elf.header.e_ident[EI_DATA] = ELFDATA2MSB;
  ExpectRefused(elf, "big-endian");
  elf = {};
  elf.header.e_machine = EM_AARCH64;
  ExpectRefused(elf, "machine 183");
  elf = {};
  elf.header.e_phnum = 0;
  ExpectRefused(elf, "no program headers");
  elf = {};
  elf.header.e_phentsize = 32;
  ExpectRefused(elf, "no program headers");
}

TEST(ElfKernelTest, HostileProgramHeaders) {
  TestElf elf;
  elf.header.e_phnum = 0xffff;
  ExpectRefused(elf, "65535 program headers");
  elf = {};
  elf.header.e_phoff = ~uint64_t{0} - 8;
  ExpectRefused(elf, "program headers lie beyond");
  elf = {};
  elf.program_headers[1].p_filesz = elf.program_headers[1].p_memsz + 1;
  ExpectRefused(elf, "more of the file than of memory");
  elf = {};
  elf.program_headers[1].p_offset = ~uint64_t{0};
  ExpectRefused(elf, "beyond the file's end");
  elf = {};
  elf.program_headers[1].p_filesz = elf.program_headers[1].p_memsz = ~uint64_t{0};
  ExpectRefused(elf, "beyond the file's end");
  elf = {};
  elf.program_headers[1].p_paddr = TestElf::kText + 63;
  ExpectRefused(elf, "overlap");
  elf = {};
  elf.program_headers[0].p_type = elf.program_headers[1].p_type = PT_NULL;
  ExpectRefused(elf, "nothing to load");
}

TEST(ElfKernelTest, SegmentsOutsideRam) {
  for (const auto& [address, size] :
       std::vector<std::pair<uint64_t, uint64_t>>{{0, 64},
                                                  {0xfffff, 64},
                                                  {0xbfffffc1, 64},
                                                  {0xc0000000, 64},
                                                  {~uint64_t{0} - 32, 64},
                                                  {TestElf::kData, ~uint64_t{0}}}) {
    TestElf elf;
    elf.program_headers[1].p_paddr = address;
    elf.program_headers[1].p_memsz = size;
    ExpectRefused(elf, "outside a PC's RAM");
  }
}

TEST(ElfKernelTest, NeedsAPvhEntryWithinASegment) {
  TestElf elf;
  elf.program_headers[2].p_type = PT_NULL;
  ExpectRefused(elf, "no PVH entry");
  ExpectRefused(WithNotes({}, ElfNote("GNU", 18, {0, 0, 0x20, 0})), "no PVH entry");
  ExpectRefused(WithNotes({}, ElfNote("Xen", 19, {0, 0, 0x20, 0})), "no PVH entry");
  ExpectRefused(WithNotes({}, ElfNote("Xen", 18, {0, 0, 0x20})), "wrong size");
  ExpectRefused(WithNotes({}, ElfNote("Xen", 18, {0x40, 0, 0x20, 0})), "in no segment");
  ExpectRefused(WithNotes({}, ElfNote("Xen", 18, {0, 0, 0x20, 0, 1, 0, 0, 0})), "in no segment");
}

TEST(ElfKernelTest, NoteLayouts) {
  // A 32-bit wide entry, as 32-bit kernels and unikernels have it, and no padding after the last
  // one.
  auto kernel = Parse(WithNotes({}, ElfNote("Xen", 18, {8, 0, 0x20, 0})).Bytes());
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_EQ(kernel->entry, GuestAddress(TestElf::kText + 8));

  // Aligned to 8: "GNU" and 4 bytes end at offset 20, so the next note begins at 24.
  std::vector<uint8_t> notes = ElfNote("GNU", 1, {1, 2, 3, 4});
  notes.resize(24);
  const std::vector<uint8_t> entry = ElfNote("Xen", 18, {8, 0, 0x20, 0});
  notes.insert(notes.end(), entry.begin(), entry.end());
  kernel = Parse(WithNotes({}, notes, 8).Bytes());
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_EQ(kernel->entry, GuestAddress(TestElf::kText + 8));
}

TEST(ElfKernelTest, HostileNotes) {
  for (size_t field : {0, 4}) {  // n_namesz, n_descsz
    std::vector<uint8_t> note = ElfNote("Xen", 18, {8, 0, 0x20, 0});
    for (size_t i = 0; i < 4; ++i) note[field + i] = 0xff;
    ExpectRefused(WithNotes({}, note), "beyond its segment");
  }
  TestElf elf;
  elf.program_headers[2].p_filesz = ~uint64_t{0};
  ExpectRefused(elf, "notes too large");
  elf = {};
  elf.program_headers[2].p_offset = ~uint64_t{0};
  ExpectRefused(elf, "notes lie beyond");
}

}  // namespace
}  // namespace vmm
