// Loads a guest: kernel, initrd, command line, boot parameters and ACPI tables into fresh RAM.
//
//   ASSIGN_OR_RETURN(BootEntry entry, LoadGuest(memory, {.kernel_fd = kernel.get(),
//                                                        .initrd_fd = initrd.get(),
//                                                        .command_line = "console=ttyS0",
//                                                        .vcpu_count = 4}));
//   RETURN_IF_ERROR(SetUpBootVcpu(memory, entry, &regs, &sregs));  // vmm/boot/vcpu_setup.h
//
// A bzImage is entered by Linux's 64-bit boot protocol, an ELF kernel by PVH. Payloads go from the
// file into RAM without a copy in between. Where things lie in the first MiB: vmm/boot/platform.h.
// The kernel goes to its preferred address, the initrd as high below it allows and the 32-bit hole
// as fits. Files are untrusted.
#ifndef VMM_BOOT_LOADER_H_
#define VMM_BOOT_LOADER_H_

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "guest_memory/address.h"
#include "guest_memory/guest_memory.h"
#include "vmm/boot/boot_params.h"

namespace vmm {

// The descriptors stay the caller's; both must be of regular files.
struct BootSources {
  int kernel_fd = -1;
  int initrd_fd = -1;  // -1: none
  std::string command_line = "";
  int vcpu_count = 1;                      // 1 to kMaxVcpus
  std::vector<SetupData> setup_data = {};  // for a bzImage only: PVH has no place for it
};

struct BootEntry {
  enum class Protocol {
    kLinux64,  // 64-bit mode, zero page in RSI
    kPvh,      // 32-bit protected mode, start info in EBX
  };
  Protocol protocol;
  GuestAddress entry;
  GuestAddress parameters;
};

// kInvalidArgument says in one line what is wrong with which source, kResourceExhausted what RAM is
// too small for. RAM may be partly written when it fails.
absl::StatusOr<BootEntry> LoadGuest(const GuestMemory& memory, const BootSources& sources);

}  // namespace vmm

#endif  // VMM_BOOT_LOADER_H_
