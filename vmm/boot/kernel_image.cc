#include "vmm/boot/kernel_image.h"

namespace vmm {

absl::StatusOr<KernelImage> ParseKernelImage(const ByteSource& source) {
  if (LooksLikeElf(source)) return ParseElfKernel(source);
  if (LooksLikeBzImage(source)) return ParseBzImage(source);
  return absl::InvalidArgumentError("not a kernel: neither a Linux bzImage nor an ELF file");
}

}  // namespace vmm
