// Reads a bzImage, the compressed kernel file that distributions ship (also when it is a PE/COFF
// file for EFI).
//
//   ASSIGN_OR_RETURN(BzImage image, ParseBzImage(source));
//   // load image.payload_size bytes from image.payload_offset at image.window.start; enter at +
//   0x200
//
// Source of every offset and rule: Linux 7.3, Documentation/arch/x86/boot.rst, protocol 2.12
// (Linux 3.8) and later: the first with a 64-bit entry. Pure: reads the header, loads nothing. The
// image is untrusted.
#ifndef VMM_BOOT_BZIMAGE_H_
#define VMM_BOOT_BZIMAGE_H_

#include <asm/bootparam.h>
#include <stdint.h>

#include "absl/status/statusor.h"
#include "guest_memory/address.h"
#include "vmm/boot/byte_source.h"

namespace vmm {

// The 64-bit entry point's offset from where the kernel is loaded.
inline constexpr uint64_t kLinux64EntryOffset = 0x200;

struct BzImage {
  // As the file has it; fields younger than the file are zero.
  setup_header header;
  // The part that runs in protected and long mode, in the file.
  uint64_t payload_offset;
  uint64_t payload_size;
  // What the kernel overwrites before it looks at its memory map. It starts at the preferred
  // address: when loaded lower the kernel moves itself there, so no lower address needs less RAM.
  // Within 32 bits and above the first MiB.
  GuestRange window;
};

// True when `source` has the mark of a Linux kernel of any boot protocol.
bool LooksLikeBzImage(const ByteSource& source);

// kInvalidArgument says in one line what is wrong with the image.
absl::StatusOr<BzImage> ParseBzImage(const ByteSource& source);

}  // namespace vmm

#endif  // VMM_BOOT_BZIMAGE_H_
