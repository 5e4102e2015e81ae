// The report on the kernel that runs.
//
//   ASSIGN_OR_RETURN(RunningKernel kernel, ReadRunningKernel(std::nullopt));
//   fputs(Text(kernel.report, {}).c_str(), stdout);
//
// A running kernel shows its memory to root by /proc/kcore (CONFIG_PROC_KCORE) or /dev/mem
// (CONFIG_DEVMEM without CONFIG_STRICT_DEVMEM), where it is not locked down; either is enough for
// all that an image tells; all of it is read in search of what goes out, unless an address is
// given. Which handover came in the kernel itself was told, and shows
// (/sys/kernel/boot_params/setup_data). Without memory, debugfs has what subsystems hand over
// (CONFIG_KEXEC_HANDOVER_DEBUGFS), and KHO's tree: cut off, for Linux 7.3 shows as much as it was
// long when debugfs was told, and after a kexec only the one that came in. What is missing is said
// in the report's notes.
//
// The memory of a running kernel changes while it is read. A list that is changed at that moment
// may look broken: read again what looks so.
#ifndef LUO_KERNEL_INSPECT_RUNNING_KERNEL_H_
#define LUO_KERNEL_INSPECT_RUNNING_KERNEL_H_

#include <stdint.h>

#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "luo_kernel/inspect/physical_reader.h"
#include "luo_kernel/inspect/report.h"

namespace luo {

struct RunningKernel {
  Report report;
  std::unique_ptr<PhysicalReader> memory;  // null where it cannot be read
};

// Where the kernel shows itself; others are for tests.
struct KernelPaths {
  std::string kcore = "/proc/kcore";
  std::string mem = "/dev/mem";
  std::string iomem = "/proc/iomem";
  std::string debugfs = "/sys/kernel/debug/kho";
  std::string vmcore = "/proc/vmcore";
  std::string setup_data = "/sys/kernel/boot_params/setup_data";
};

// The handover whose tree lies at `address`, or, without, every one that is found.
// kFailedPrecondition, saying what is missing, where nothing at all can be seen.
absl::StatusOr<RunningKernel> ReadRunningKernel(std::optional<uint64_t> address,
                                                const KernelPaths& paths = {});

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_RUNNING_KERNEL_H_
