// Reads an uncompressed kernel: an x86-64 ELF file that can be entered by the PVH protocol (Linux's
// vmlinux with CONFIG_PVH, Xen's, or a unikernel's).
//
//   ASSIGN_OR_RETURN(ElfKernel kernel, ParseElfKernel(source));
//   for (const ElfSegment& segment : kernel.segments) ...   // load, then enter at kernel.entry
//
// Sources: ELF-64 object file format 1.5; XEN_ELFNOTE_PHYS32_ENTRY in Linux 7.3,
// include/xen/interface/elfnote.h. Pure: reads headers and notes, loads nothing. The file is
// untrusted: what comes back is within the file, above the first MiB, below 4 GiB's PCI hole,
// sorted, free of overlaps.
#ifndef VMM_BOOT_ELF_KERNEL_H_
#define VMM_BOOT_ELF_KERNEL_H_

#include <stdint.h>

#include <vector>

#include "absl/status/statusor.h"
#include "guest_memory/address.h"
#include "vmm/boot/byte_source.h"

namespace vmm {

// One PT_LOAD: `file_size` bytes of the file, then zeros up to the end of `range`.
struct ElfSegment {
  GuestRange range;
  uint64_t file_offset;
  uint64_t file_size;
};

struct ElfKernel {
  // In ascending order; never empty.
  std::vector<ElfSegment> segments;
  // Where the PVH note says to enter, in 32-bit protected mode; within a segment.
  GuestAddress entry;

  // From the first segment's start to the last one's end.
  GuestRange window() const;
};

// More program headers than any kernel has; a file with more is refused.
inline constexpr int kMaxProgramHeaders = 128;
// More than any kernel's notes take.
inline constexpr uint64_t kMaxNoteBytes = 64 << 10;

// True when `source` begins as ELF files do.
bool LooksLikeElf(const ByteSource& source);

// kInvalidArgument says in one line what is wrong with the file.
absl::StatusOr<ElfKernel> ParseElfKernel(const ByteSource& source);

}  // namespace vmm

#endif  // VMM_BOOT_ELF_KERNEL_H_
