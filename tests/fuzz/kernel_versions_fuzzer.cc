// The look into a kernel image. Each input is read twice: as a whole file, and as the payload of a
// bootable bzImage, so that decompressors and the ELF parser are reached without guessing a setup
// header.
#include <asm/bootparam.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"
#include "luo_kernel/versions/kernel_versions.h"

namespace {

std::vector<uint8_t> BzImage(absl::Span<const uint8_t> payload) {
  constexpr size_t kSetupHeaderOffset = 0x1f1;
  constexpr size_t kSetupSectors = 4;
  setup_header header = {};
  header.setup_sects = kSetupSectors;
  header.boot_flag = 0xaa55;
  memcpy(&header.header, "HdrS", 4);
  header.version = 0x020f;
  header.loadflags = LOADED_HIGH;
  header.xloadflags = XLF_KERNEL_64 | XLF_CAN_BE_LOADED_ABOVE_4G;
  header.relocatable_kernel = 1;
  header.payload_offset = 16;
  header.payload_length = payload.size();
  std::vector<uint8_t> image((1 + kSetupSectors) * 512 + header.payload_offset);
  memcpy(image.data() + kSetupHeaderOffset, &header, sizeof(header));
  image.insert(image.end(), payload.begin(), payload.end());
  return image;
}

void Read(absl::Span<const uint8_t> file) {
  vmm::UniqueFd fd(memfd_create("kernel", MFD_CLOEXEC));
  if (write(fd.get(), file.data(), file.size()) != static_cast<ssize_t>(file.size())) return;
  absl::StatusOr<luo::LiveUpdateVersions> versions = luo::ReadKernelVersions(fd.get());
  if (versions.ok()) (void)luo::CheckCompatible(*versions, luo::LiveUpdateVersions());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Read(absl::MakeConstSpan(data, size));
  Read(BzImage(absl::MakeConstSpan(data, size)));
  return 0;
}
