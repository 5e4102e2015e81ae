// Which live-update ABI a kernel speaks, and whether the next one understands what the running one
// will hand over.
//
//   ASSIGN_OR_RETURN(LiveUpdateVersions next, ReadKernelVersions(image_fd));
//   RETURN_IF_ERROR(CheckCompatible(RunningKernelVersions(), next));
//
// To be asked before anything is preserved: after the kexec a mismatch cannot be undone. A kernel
// that knows another KHO version boots and drops everything; with another LUO version it panics;
// without a file handler's version it refuses every session. The kernel itself checks none of it
// beforehand.
//
// A version is its compatible string: "kho-v4", "luo-v5", "memfd-v2" (Linux 7.3,
// include/linux/kho/abi/), "vfio-pci-v1", "intel-vtd-v1" (luo_kernel/linux).
#ifndef LUO_KERNEL_VERSIONS_KERNEL_VERSIONS_H_
#define LUO_KERNEL_VERSIONS_KERNEL_VERSIONS_H_

#include <set>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace luo {

struct LiveUpdateVersions {
  std::set<std::string> strings;
  std::string source;  // How they were found, for people.
};

// The versions in the bzImage behind `fd` (borrowed). They come from the ELF section
// .liveupdate_versions where there is one, else from the strings of the kernel; there may be none.
// Takes as long as unpacking a kernel, some tenths of a second. Errors are those of
// ReadKernelImage() (kernel_image.h), of which kUnimplemented means "cannot be told".
absl::StatusOr<LiveUpdateVersions> ReadKernelVersions(int fd);

// What the running kernel will hand over: what its own section says, where it shows that as a file
// (luo_kernel/linux adds it). Else KHO's and LUO's version as KHO's debugfs shows them (root,
// debugfs mounted, CONFIG_KEXEC_HANDOVER_DEBUGFS), and what Linux 7.3 speaks for what cannot be
// seen, which `source` then says: the memfd handler's version.
LiveUpdateVersions RunningKernelVersions(
    const std::string& debugfs = "/sys/kernel/debug",
    const std::string& section_file = "/sys/kernel/liveupdate_versions");

enum class HandedOver {
  kMemory,            // memfds alone: what a kernel speaks for devices does not count.
  kMemoryAndDevices,  // VFIO PCI devices too; the running kernel must be able to.
};

// kFailedPrecondition says the first of `running` that `next` does not have, and what would come of
// it.
absl::Status CheckCompatible(const LiveUpdateVersions& running, const LiveUpdateVersions& next,
                             HandedOver handed_over = HandedOver::kMemory);

}  // namespace luo

#endif  // LUO_KERNEL_VERSIONS_KERNEL_VERSIONS_H_
