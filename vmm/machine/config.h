// MachineConfig: what a VM is, as its user asked for it. Checked once by Validate(), recorded in
// the state memfd, and able to become the `vmm run` command line again (that is how a guest's reset
// starts it afresh).
//
//   MachineConfig config;
//   config.name = "web1";
//   config.kernel = "/boot/vmlinuz";
//   config.memory_bytes = 4ull << 30;
//   RETURN_IF_ERROR(config.Validate());
#ifndef VMM_MACHINE_CONFIG_H_
#define VMM_MACHINE_CONFIG_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tree.h"
#include "guest_memory/memfd_region.h"

namespace vmm {

inline constexpr uint64_t kMinMemoryBytes = uint64_t{64} << 20;

enum class OnReset {
  kRestart,  // boot the guest again, as a PC would
  kExit,     // end the VMM with kExitGuestReset
};

struct MachineConfig {
  std::string name = "vm";   // see vm_name.h
  std::string kernel;        // absolute path
  std::string initramfs;     // absolute path, or empty
  std::string command_line;  // the guest kernel's
  uint32_t vcpus = 1;
  uint64_t memory_bytes = uint64_t{512} << 20;
  HugePages huge_pages = HugePages::kAuto;
  bool prefault = false;
  std::string serial = "tty";  // see devices/console
  OnReset on_reset = OnReset::kRestart;
  std::string luod_socket;  // empty: no live update

  // Everything that can be refused without looking at the host. kInvalidArgument names the option.
  absl::Status Validate() const;

  // "run", "--name", ...: the arguments that make this machine.
  std::vector<std::string> ToArguments() const;

  // Node "config", compatible "vmm,config-v1".
  Tree Save() const;
  static absl::StatusOr<MachineConfig> Restore(const Tree& node);
};

// "restart", "exit".
absl::StatusOr<OnReset> ParseOnReset(absl::string_view text);

// "auto", "on", "off" and back.
absl::StatusOr<HugePages> ParseHugePages(absl::string_view text);
absl::string_view HugePagesName(HugePages huge_pages);

// "64M", "4G", "4GiB", "4096" (bytes when no unit is given): kInvalidArgument for anything else or
// past 2^64.
absl::StatusOr<uint64_t> ParseByteSize(absl::string_view text);

}  // namespace vmm

#endif  // VMM_MACHINE_CONFIG_H_
