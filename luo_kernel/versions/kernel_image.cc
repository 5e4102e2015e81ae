#include "luo_kernel/versions/kernel_image.h"

#include <asm/bootparam.h>
#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "luo_kernel/versions/decompress.h"

namespace luo {
namespace {

// Linux, Documentation/arch/x86/boot.rst: where the setup header lies in the file, and what is in
// it.
constexpr off_t kSetupHeaderOffset = 0x1f1;
constexpr uint16_t kBootFlag = 0xaa55;
constexpr char kHeaderMagic[4] = {'H', 'd', 'r', 'S'};
constexpr uint16_t kOldestProtocol = 0x020c;
constexpr size_t kSectorBytes = 512;
constexpr size_t kDefaultSetupSectors = 4;

absl::Status NotBootable(absl::string_view why) {
  return absl::InvalidArgumentError(
      absl::StrCat("not a kernel that kexec can hand over to: ", why));
}

absl::Status ReadAll(int fd, off_t offset, absl::Span<uint8_t> bytes) {
  while (!bytes.empty()) {
    ssize_t got = pread(fd, bytes.data(), bytes.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return vmm::ErrnoStatus(errno, "read the kernel image");
    if (got == 0) return NotBootable("the file is cut short");
    bytes.remove_prefix(got);
    offset += got;
  }
  return absl::OkStatus();
}

absl::Status CheckSetupHeader(const setup_header& header) {
  uint32_t magic;
  memcpy(&magic, kHeaderMagic, sizeof(magic));
  if (header.boot_flag != kBootFlag || header.header != magic) return NotBootable("not a bzImage");
  if (header.version < kOldestProtocol) {
    return NotBootable(absl::StrFormat("boot protocol %d.%02d is older than 2.12",
                                       header.version >> 8, header.version & 0xff));
  }
  if (!(header.loadflags & LOADED_HIGH)) return NotBootable("a zImage");
  constexpr uint16_t kNeeded = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
  if ((header.xloadflags & kNeeded) != kNeeded) {
    return NotBootable("it has no 64-bit entry point, or cannot be loaded above 4 GiB");
  }
  if (header.relocatable_kernel == 0) return NotBootable("CONFIG_RELOCATABLE is off");
  if (header.payload_offset == 0) return NotBootable("it has no payload");
  if (header.payload_length > kMaxPayloadBytes) {
    return NotBootable(absl::StrCat("a payload of ", header.payload_length, " bytes"));
  }
  return absl::OkStatus();
}

bool IsElf(absl::Span<const uint8_t> bytes) {
  return bytes.size() >= SELFMAG && memcmp(bytes.data(), ELFMAG, SELFMAG) == 0;
}

}  // namespace

absl::StatusOr<std::vector<uint8_t>> ReadKernelImage(int fd) {
  struct stat info;
  if (fstat(fd, &info) < 0) return vmm::ErrnoStatus(errno, "look at the kernel image");
  if (!S_ISREG(info.st_mode)) return NotBootable("not a file");

  setup_header header;
  RETURN_IF_ERROR(ReadAll(fd, kSetupHeaderOffset,
                          absl::MakeSpan(reinterpret_cast<uint8_t*>(&header), sizeof(header))));
  RETURN_IF_ERROR(CheckSetupHeader(header));

  const size_t setup_sectors = header.setup_sects == 0 ? kDefaultSetupSectors : header.setup_sects;
  const uint64_t offset = (1 + setup_sectors) * kSectorBytes + uint64_t{header.payload_offset};
  if (offset + header.payload_length > static_cast<uint64_t>(info.st_size)) {
    return NotBootable("its payload lies outside of the file");
  }
  std::vector<uint8_t> payload(header.payload_length);
  RETURN_IF_ERROR(ReadAll(fd, static_cast<off_t>(offset), absl::MakeSpan(payload)));
  if (IsElf(payload)) return payload;

  // The unpacked size closes the payload: gzip has it there by itself, the build appends it to the
  // others (scripts/ Makefile.lib, size_append).
  uint32_t size;
  if (payload.size() < sizeof(size)) return NotBootable("an empty payload");
  memcpy(&size, payload.data() + payload.size() - sizeof(size), sizeof(size));
  if (size > kMaxKernelBytes || size > kMaxKernelRatio * payload.size()) {
    return NotBootable(
        absl::StrCat("a payload of ", payload.size(), " bytes that claims to unpack to ", size));
  }
  std::vector<uint8_t> kernel(size);
  RETURN_IF_ERROR(Decompress(payload, absl::MakeSpan(kernel)));
  if (!IsElf(kernel)) return NotBootable("what it unpacks to is no ELF file");
  return kernel;
}

}  // namespace luo
