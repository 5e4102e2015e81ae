#include "vmm/boot/bzimage.h"

#include <stddef.h>
#include <string.h>

#include <algorithm>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "vmm/boot/platform.h"

namespace vmm {
namespace {

constexpr uint64_t kHeaderOffset = offsetof(boot_params, hdr);
static_assert(kHeaderOffset == 0x1f1);
constexpr uint64_t kSectorSize = 512;
constexpr uint32_t kMagic = 0x53726448;  // "HdrS"
constexpr uint16_t kOldestVersion = 0x20c;
// Where `jump` counts from, and the end of the header's fields at kOldestVersion.
constexpr uint64_t kJumpBase = 0x202;
constexpr uint64_t kOldestHeaderEnd = kHeaderOffset + offsetof(setup_header, kernel_info_offset);
constexpr uint8_t kDefaultSetupSectors = 4;

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("bzImage: ", what));
}

absl::StatusOr<setup_header> ReadHeader(const ByteSource& source) {
  setup_header header;
  auto* bytes = reinterpret_cast<uint8_t*>(&header);
  if (!source.Read(kHeaderOffset, absl::MakeSpan(bytes, sizeof(header))).ok()) {
    return Invalid("truncated: the file ends in the setup header");
  }
  if (header.header != kMagic) return Invalid("no \"HdrS\" mark");
  if (header.version < kOldestVersion) {
    return Invalid(absl::StrFormat("boot protocol %d.%02d is too old: 2.12 (Linux 3.8) is needed",
                                   header.version >> 8, header.version & 0xff));
  }
  // `jump` is a two-byte instruction over the rest of the header: its displacement tells where the
  // header ends.
  const uint64_t end = kJumpBase + (header.jump >> 8);
  if (end < kOldestHeaderEnd) return Invalid("the setup header is too short for its version");
  const uint64_t size = std::min<uint64_t>(end - kHeaderOffset, sizeof(header));
  memset(bytes + size, 0, sizeof(header) - size);
  return header;
}

// "memory_window_start" and "_size" of boot.rst's init_size.
absl::StatusOr<GuestRange> Window(const setup_header& header, uint64_t payload_size) {
  const uint64_t alignment = header.kernel_alignment;
  if (alignment == 0 || (alignment & (alignment - 1)) != 0) {
    return Invalid(absl::StrFormat("kernel_alignment %#x is not a power of two", alignment));
  }
  const uint64_t size = std::max<uint64_t>(header.init_size, payload_size);
  const uint64_t preferred = std::max<uint64_t>(header.pref_address, kHighRamStart.value());
  if (preferred < kPciHoleStart) {
    // A kernel that isn't relocatable runs at its preferred address, aligned or not.
    const uint64_t unit = header.relocatable_kernel ? alignment : 1;
    const uint64_t start = (preferred + unit - 1) & -unit;
    if (start < kPciHoleStart && size <= kPciHoleStart - start) {
      return GuestRange{GuestAddress(start), size};
    }
  }
  return Invalid(absl::StrFormat("wants to run at %#x with %#x bytes, beyond a PC's low RAM",
                                 preferred, size));
}

}  // namespace

bool LooksLikeBzImage(const ByteSource& source) {
  uint32_t magic = 0;
  const absl::Status status =
      source.Read(kHeaderOffset + offsetof(setup_header, header),
                  absl::MakeSpan(reinterpret_cast<uint8_t*>(&magic), sizeof(magic)));
  return status.ok() && magic == kMagic;
}

absl::StatusOr<BzImage> ParseBzImage(const ByteSource& source) {
  BzImage image;
  ASSIGN_OR_RETURN(image.header, ReadHeader(source));
  const setup_header& header = image.header;
  if (!(header.loadflags & LOADED_HIGH)) return Invalid("a zImage, which loads below 1 MiB");
  if (!(header.xloadflags & XLF_KERNEL_64))
    return Invalid("a 32-bit kernel: no 64-bit entry point");

  const uint64_t setup_sectors = header.setup_sects ? header.setup_sects : kDefaultSetupSectors;
  image.payload_offset = (setup_sectors + 1) * kSectorSize;
  // Signatures may follow the payload, so the header says its size, not the file's.
  image.payload_size = uint64_t{header.syssize} * 16;
  if (image.payload_offset > source.size() ||
      image.payload_size > source.size() - image.payload_offset) {
    return Invalid(absl::StrFormat("truncated: %d bytes of at least %d", source.size(),
                                   image.payload_offset + image.payload_size));
  }
  if (image.payload_size <= kLinux64EntryOffset)
    return Invalid("no code at the 64-bit entry point");
  ASSIGN_OR_RETURN(image.window, Window(header, image.payload_size));
  return image;
}

}  // namespace vmm
