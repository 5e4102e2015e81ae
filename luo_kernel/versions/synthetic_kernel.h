// Small kernels for tests: an ELF file with strings and sections, packed and wrapped into a
// bzImage.
//
//   vmm::UniqueFd fd = MemfdOf(BzImage(Pack(Packing::kXz, ElfKernel("kho-v4"))));
#ifndef LUO_KERNEL_VERSIONS_SYNTHETIC_KERNEL_H_
#define LUO_KERNEL_VERSIONS_SYNTHETIC_KERNEL_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace luo {

using Bytes = std::vector<uint8_t>;

enum class Packing { kNone, kGzip, kXz, kLzma, kZstd };

// An ELF file in which each of `strings` lies NUL-terminated between bytes that do not compress
// well.
Bytes ElfKernel(const std::vector<std::string>& strings);

// The same with a section called `name` that holds `content`.
Bytes ElfKernelWithSection(const std::vector<std::string>& strings, absl::string_view name,
                           absl::string_view content);

// `kernel` as the kernel's build would pack it, its size appended where the format lacks it.
Bytes Pack(Packing packing, const Bytes& kernel);

// A bootable setup header, and `payload` where it says.
Bytes BzImage(const Bytes& payload);

vmm::UniqueFd MemfdOf(const Bytes& bytes);

}  // namespace luo

#endif  // LUO_KERNEL_VERSIONS_SYNTHETIC_KERNEL_H_
