#include "luo_kernel/inspect/memory_image.h"

#include <elf.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <string>

#include "luo_kernel/inspect/test_handover.h"

namespace luo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::vmm::UniqueFd;

UniqueFd FileWith(const std::vector<uint8_t>& bytes) {
  UniqueFd fd(memfd_create("image", MFD_CLOEXEC));
  EXPECT_EQ(write(fd.get(), bytes.data(), bytes.size()), static_cast<ssize_t>(bytes.size()));
  return fd;
}

// An ELF core of the given program headers; what they point to lies in the file's bytes.
struct Core {
  Elf64_Ehdr header = {};
  std::vector<Elf64_Phdr> programs;
  std::vector<uint8_t> contents;

  Core() {
    memcpy(header.e_ident, ELFMAG, SELFMAG);
    header.e_ident[EI_CLASS] = ELFCLASS64;
    header.e_ident[EI_DATA] = ELFDATA2LSB;
    header.e_type = ET_CORE;
    header.e_phoff = sizeof(Elf64_Ehdr);
    header.e_phentsize = sizeof(Elf64_Phdr);
  }
  // Memory at `address`, all of one byte.
  void Add(uint64_t address, uint64_t size, uint8_t byte) {
    programs.push_back({.p_type = PT_LOAD,
                        .p_offset = contents.size(),
                        .p_paddr = address,
                        .p_filesz = size,
                        .p_memsz = size});
    contents.insert(contents.end(), size, byte);
  }
  std::vector<uint8_t> Bytes() const {
    Elf64_Ehdr whole = header;
    if (whole.e_phnum == 0) whole.e_phnum = static_cast<uint16_t>(programs.size());
    const uint64_t start = sizeof(whole) + programs.size() * sizeof(Elf64_Phdr);
    std::vector<uint8_t> bytes(start);
    memcpy(bytes.data(), &whole, sizeof(whole));
    for (size_t i = 0; i < programs.size(); ++i) {
      Elf64_Phdr program = programs[i];
      program.p_offset += start;
      memcpy(bytes.data() + sizeof(whole) + i * sizeof(program), &program, sizeof(program));
    }
    bytes.insert(bytes.end(), contents.begin(), contents.end());
    return bytes;
  }
  absl::StatusOr<std::unique_ptr<MemoryImage>> Open() const {
    return MemoryImage::Open(FileWith(Bytes()));
  }
};

TEST(MemoryImageTest, ReadsByPhysicalAddressOverSegments) {
  Core core;
  core.Add(0x3000, 0x1000, 3);
  core.Add(0x1000, 0x2000, 1);
  core.Add(0x10000, 0x1000, 9);
  auto image = core.Open();
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_THAT((*image)->ranges(),
              ElementsAre(MemoryRange{0x1000, 0x3000}, MemoryRange{0x10000, 0x1000}));
  std::vector<uint8_t> bytes(4);
  ASSERT_TRUE((*image)->Read(0x2ffe, absl::MakeSpan(bytes)).ok());
  EXPECT_THAT(bytes, ElementsAre(1, 1, 3, 3));
  for (const uint64_t outside :
       {uint64_t{0xfff}, uint64_t{0x3ffd}, uint64_t{0x4000}, uint64_t{0x10fff}, ~uint64_t{0}}) {
    EXPECT_FALSE((*image)->Read(outside, absl::MakeSpan(bytes)).ok()) << outside;
  }
  EXPECT_TRUE((*image)->Has(0x1000, 0x3000));
  EXPECT_FALSE((*image)->Has(0x1000, 0x3001));
  EXPECT_FALSE((*image)->Has(0x1001, ~uint64_t{0}));
}

TEST(MemoryImageTest, EachWholePageIsVisitedOnceUpToTheLastOfAll) {
  Core core;
  core.Add(0x1800, 0x2000, 1);  // one whole page, at 0x2000
  core.Add(0xffff'ffff'ffff'd000, 0x1000, 2);
  core.Add(0xffff'ffff'ffff'f100, 0x200, 3);  // the next page would be at 0
  auto image = core.Open();
  ASSERT_TRUE(image.ok()) << image.status();
  std::vector<uint64_t> visited;
  (*image)->ForEachPage([&](uint64_t address, absl::Span<const uint8_t> page) {
    EXPECT_EQ(page.size(), 0x1000u);
    visited.push_back(address);
  });
  EXPECT_THAT(visited, ElementsAre(0x2000, 0xffff'ffff'ffff'd000));
}

TEST(MemoryImageTest, AWholeHandoverComesOutOfAFile) {
  const TestHandover handover;
  auto image = MemoryImage::Open(FileWith(handover.AsElfCore()));
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ((*image)->kernel_release(), "7.3.test");
  EXPECT_THAT((*image)->vmcoreinfo(), HasSubstr("PAGESIZE=4096"));
  EXPECT_THAT((*image)->ranges(),
              ElementsAre(MemoryRange{TestHandover::kMemory, TestHandover::kMemorySize}));
}

TEST(MemoryImageTest, MemoryThatIsThereTwiceIsReadOnce) {
  Core core;
  core.Add(0x1000, 0x3000, 1);
  core.Add(0x2000, 0x1000, 2);
  core.Add(0x3000, 0x2000, 3);
  core.Add(~uint64_t{0}, 0x1000, 4);  // no physical address
  auto image = core.Open();
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_THAT((*image)->ranges(), ElementsAre(MemoryRange{0x1000, 0x4000}));
  std::vector<uint8_t> bytes(0x4000);
  ASSERT_TRUE((*image)->Read(0x1000, absl::MakeSpan(bytes)).ok());
  EXPECT_EQ(bytes[0x1000], 1);
  EXPECT_EQ(bytes[0x3000], 3);
}

TEST(MemoryImageTest, ADumpThatWasCutOffHoldsWhatIsThere) {
  Core core;
  core.Add(0x1000, 0x2000, 1);
  core.Add(0x8000, 0x2000, 2);
  std::vector<uint8_t> bytes = core.Bytes();
  bytes.resize(bytes.size() - 0x1800);
  auto image = MemoryImage::Open(FileWith(bytes));
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_THAT((*image)->ranges(),
              ElementsAre(MemoryRange{0x1000, 0x2000}, MemoryRange{0x8000, 0x800}));
}

TEST(MemoryImageTest, AFileThatShrinksIsAnErrorAndNoMore) {
  Core core;
  core.Add(0x1000, 0x2000, 1);
  UniqueFd file = FileWith(core.Bytes());
  UniqueFd again(dup(file.get()));
  auto image = MemoryImage::Open(std::move(file));
  ASSERT_TRUE(image.ok());
  ASSERT_EQ(ftruncate(again.get(), 100), 0);
  std::vector<uint8_t> bytes(16);
  EXPECT_FALSE((*image)->Read(0x1000, absl::MakeSpan(bytes)).ok());
}

TEST(MemoryImageTest, WhatIsNoImageIsRefusedWithAReason) {
  const auto why = [](const std::vector<uint8_t>& bytes) {
    return std::string(MemoryImage::Open(FileWith(bytes)).status().message());
  };
  EXPECT_THAT(why({}), HasSubstr("too short to be an ELF file"));
  EXPECT_THAT(why(std::vector<uint8_t>(100)), HasSubstr("not an ELF file"));
  std::vector<uint8_t> kdump(100);
  memcpy(kdump.data(), "KDUMP   ", 8);
  EXPECT_THAT(why(kdump), HasSubstr("makedumpfile -E"));
  EXPECT_THAT(why(Core().Bytes()), HasSubstr("holds no memory"));
  Core core;
  core.Add(0x1000, 0x1000, 1);
  core.header.e_type = ET_EXEC;
  EXPECT_THAT(why(core.Bytes()), HasSubstr("no core"));
  core.header.e_type = ET_CORE;
  core.header.e_ident[EI_CLASS] = ELFCLASS32;
  EXPECT_THAT(why(core.Bytes()), HasSubstr("64 bits"));
  core.header.e_ident[EI_CLASS] = ELFCLASS64;
  core.header.e_phentsize = 1;
  EXPECT_THAT(why(core.Bytes()), HasSubstr("program headers of unknown size"));
}

TEST(MemoryImageTest, HostileNumbersAreRefused) {
  Core core;
  core.Add(~uint64_t{0} - 0xfff, 0x2000, 1);
  EXPECT_THAT(core.Open().status().message(), HasSubstr("beyond the last address"));
  Core headers;
  headers.header.e_phoff = ~uint64_t{0} - 10;
  headers.header.e_phnum = 2;
  EXPECT_FALSE(headers.Open().ok());
  Core many;
  many.header.e_phnum = PN_XNUM;
  many.header.e_shentsize = sizeof(Elf64_Shdr);
  many.header.e_shoff = 64;
  Elf64_Shdr section = {};
  section.sh_info = 0xffffffff;
  many.contents.resize(sizeof(section));
  memcpy(many.contents.data(), &section, sizeof(section));
  EXPECT_THAT(many.Open().status().message(), HasSubstr("4294967295 program headers"));
}

TEST(MemoryImageTest, NotesThatMakeNoSenseArePassedOver) {
  Core core;
  core.Add(0x1000, 0x1000, 1);
  Elf64_Nhdr note = {.n_namesz = 0xffffffff, .n_descsz = 0xffffffff, .n_type = 0};
  core.programs.push_back(
      {.p_type = PT_NOTE, .p_offset = core.contents.size(), .p_filesz = ~uint64_t{0} >> 1});
  const auto* bytes = reinterpret_cast<const uint8_t*>(&note);
  core.contents.insert(core.contents.end(), bytes, bytes + sizeof(note));
  auto image = core.Open();
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ((*image)->vmcoreinfo(), "");
  EXPECT_EQ((*image)->kernel_release(), "");
}

}  // namespace
}  // namespace luo
