#include "vmm/boot/test_images.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <numeric>

namespace vmm {
namespace {

constexpr size_t kTextSize = 64;
constexpr size_t kDataSize = 32;

std::vector<uint8_t> CountingBytes(size_t size, uint8_t first = 1) {
  std::vector<uint8_t> bytes(size);
  std::iota(bytes.begin(), bytes.end(), first);
  return bytes;
}

void Append(std::vector<uint8_t>& to, const void* bytes, size_t size) {
  const auto* start = static_cast<const uint8_t*>(bytes);
  to.insert(to.end(), start, start + size);
}

}  // namespace

TestBzImage::TestBzImage() : header{}, payload(CountingBytes(0x400)) {
  header.setup_sects = 4;
  header.syssize = static_cast<uint32_t>(payload.size() / 16);
  header.boot_flag = 0xaa55;
  header.jump = 0x6aeb;
  header.header = 0x53726448;
  header.version = 0x20f;
  header.loadflags = LOADED_HIGH;
  header.initrd_addr_max = 0x7fffffff;
  header.kernel_alignment = 0x200000;
  header.relocatable_kernel = 1;
  header.xloadflags = XLF_KERNEL_64;
  header.cmdline_size = 2047;
  header.pref_address = 16 << 20;
  header.init_size = 4 << 20;
}

std::vector<uint8_t> TestBzImage::Bytes() const {
  std::vector<uint8_t> bytes(5 * 512);
  memcpy(&bytes[offsetof(boot_params, hdr)], &header, sizeof(header));
  bytes.insert(bytes.end(), payload.begin(), payload.end());
  return bytes;
}

std::vector<uint8_t> ElfNote(const char* owner, uint32_t type, const std::vector<uint8_t>& bytes) {
  const Elf64_Nhdr header = {.n_namesz = static_cast<uint32_t>(strlen(owner) + 1),
                             .n_descsz = static_cast<uint32_t>(bytes.size()),
                             .n_type = type};
  std::vector<uint8_t> note;
  Append(note, &header, sizeof(header));
  Append(note, owner, header.n_namesz);
  note.resize((note.size() + 3) / 4 * 4);
  Append(note, bytes.data(), bytes.size());
  note.resize((note.size() + 3) / 4 * 4);
  return note;
}

TestElf::TestElf() : TestElf(CountingBytes(kTextSize)) {}

TestElf::TestElf(const std::vector<uint8_t>& text) : header{}, program_headers(3), contents(text) {
  const std::vector<uint8_t> data = CountingBytes(kDataSize, kTextSize + 1);
  Append(contents, data.data(), data.size());
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_EXEC;
  header.e_machine = EM_X86_64;
  header.e_version = EV_CURRENT;
  header.e_phoff = sizeof(header);
  header.e_ehsize = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = static_cast<uint16_t>(program_headers.size());

  const std::vector<uint8_t> foreign = ElfNote("Linux", 0x100, {1});
  const std::vector<uint8_t> entry =
      ElfNote("Xen", 18,
              {kEntry & 0xff, kEntry >> 8 & 0xff, kEntry >> 16 & 0xff, kEntry >> 24, 0, 0, 0, 0});
  const uint64_t notes_offset = contents_offset() + contents.size();
  Append(contents, foreign.data(), foreign.size());
  Append(contents, entry.data(), entry.size());

  program_headers[0] = {.p_type = PT_LOAD,
                        .p_flags = PF_R | PF_X,
                        .p_offset = contents_offset(),
                        .p_vaddr = kText,
                        .p_paddr = kText,
                        .p_filesz = text.size(),
                        .p_memsz = text.size(),
                        .p_align = 4096};
  program_headers[1] = {.p_type = PT_LOAD,
                        .p_flags = PF_R | PF_W,
                        .p_offset = contents_offset() + text.size(),
                        .p_vaddr = kData,
                        .p_paddr = kData,
                        .p_filesz = kDataSize,
                        .p_memsz = kDataMemory,
                        .p_align = 4096};
  program_headers[2] = {.p_type = PT_NOTE,
                        .p_flags = PF_R,
                        .p_offset = notes_offset,
                        .p_vaddr = 0,
                        .p_paddr = 0,
                        .p_filesz = foreign.size() + entry.size(),
                        .p_memsz = foreign.size() + entry.size(),
                        .p_align = 4};
}

uint64_t TestElf::contents_offset() const {
  return sizeof(header) + program_headers.size() * sizeof(Elf64_Phdr);
}

std::vector<uint8_t> TestElf::Bytes() const {
  std::vector<uint8_t> bytes;
  Append(bytes, &header, sizeof(header));
  Append(bytes, program_headers.data(), program_headers.size() * sizeof(Elf64_Phdr));
  Append(bytes, contents.data(), contents.size());
  return bytes;
}

UniqueFd FileWith(const std::vector<uint8_t>& bytes) {
  UniqueFd fd(memfd_create("test-image", MFD_CLOEXEC));
  if (write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) abort();
  return fd;
}

}  // namespace vmm
