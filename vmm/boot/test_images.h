// Kernel files of a few hundred bytes, for tests: well-formed as made, and misshapen by changing a
// field.
//
//   TestBzImage image;
//   image.header.version = 0x206;
//   UniqueFd file = FileWith(image.Bytes());
#ifndef VMM_BOOT_TEST_IMAGES_H_
#define VMM_BOOT_TEST_IMAGES_H_

#include <asm/bootparam.h>
#include <elf.h>
#include <stdint.h>

#include <vector>

#include "base/unique_fd.h"

namespace vmm {

// Protocol 2.15, 4 sectors of setup, preferred address 16 MiB, 4 MiB of window, payload bytes
// counting up.
struct TestBzImage {
  TestBzImage();
  std::vector<uint8_t> Bytes() const;

  setup_header header;
  std::vector<uint8_t> payload;
};

// Two segments, the second with zeros to fill, and a note segment with a foreign note and the PVH
// entry (2 MiB + 16).
struct TestElf {
  static constexpr uint64_t kText = 2 << 20;
  static constexpr uint64_t kData = 3 << 20;
  static constexpr uint64_t kDataMemory = 0x3000;
  static constexpr uint32_t kEntry = kText + 16;

  TestElf();  // text and data are bytes counting up
  explicit TestElf(const std::vector<uint8_t>& text);
  std::vector<uint8_t> Bytes() const;

  Elf64_Ehdr header;
  std::vector<Elf64_Phdr> program_headers;  // text, data, notes
  std::vector<uint8_t> contents;            // from contents_offset() on
  uint64_t contents_offset() const;
};

// One ELF note, padded to 4.
std::vector<uint8_t> ElfNote(const char* owner, uint32_t type, const std::vector<uint8_t>& bytes);

// An unnamed file with these bytes; aborts the test where the system has no memfd.
UniqueFd FileWith(const std::vector<uint8_t>& bytes);

}  // namespace vmm

#endif  // VMM_BOOT_TEST_IMAGES_H_
