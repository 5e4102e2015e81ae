// Tells what kind of kernel a file holds, and reads its headers.
//
//   ASSIGN_OR_RETURN(KernelImage image, ParseKernelImage(source));
//   if (auto* linux = std::get_if<BzImage>(&image)) ...
//
// Loads nothing: see vmm/boot/loader.h. The file is untrusted.
#ifndef VMM_BOOT_KERNEL_IMAGE_H_
#define VMM_BOOT_KERNEL_IMAGE_H_

#include <variant>

#include "absl/status/statusor.h"
#include "vmm/boot/byte_source.h"
#include "vmm/boot/bzimage.h"
#include "vmm/boot/elf_kernel.h"

namespace vmm {

using KernelImage = std::variant<BzImage, ElfKernel>;

// kInvalidArgument says in one line why the file cannot be booted.
absl::StatusOr<KernelImage> ParseKernelImage(const ByteSource& source);

}  // namespace vmm

#endif  // VMM_BOOT_KERNEL_IMAGE_H_
