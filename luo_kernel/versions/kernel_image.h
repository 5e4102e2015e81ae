// ReadKernelImage: the kernel inside an x86 bzImage, decompressed.
//
//   ASSIGN_OR_RETURN(std::vector<uint8_t> vmlinux, ReadKernelImage(fd));
//
// Safe for files from anywhere: every offset is checked, and memory is bounded by kMaxKernelBytes
// and by kMaxKernelRatio times the file's size.
#ifndef LUO_KERNEL_VERSIONS_KERNEL_IMAGE_H_
#define LUO_KERNEL_VERSIONS_KERNEL_IMAGE_H_

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "absl/status/statusor.h"

namespace luo {

inline constexpr size_t kMaxPayloadBytes = size_t{256} << 20;
inline constexpr size_t kMaxKernelBytes = size_t{512} << 20;
// Kernels are packed 3 to 8 times; more is a trap.
inline constexpr size_t kMaxKernelRatio = 64;

// The ELF kernel in the bzImage behind `fd`, which is borrowed and whose position is left alone.
// Refused with kInvalidArgument: what kexec_file_load() would refuse (Linux 7.3,
// arch/x86/kernel/kexec-bzimage64.c), a kernel that is not relocatable, and a damaged one.
// kUnimplemented: a compression that is not known here.
absl::StatusOr<std::vector<uint8_t>> ReadKernelImage(int fd);

}  // namespace luo

#endif  // LUO_KERNEL_VERSIONS_KERNEL_IMAGE_H_
