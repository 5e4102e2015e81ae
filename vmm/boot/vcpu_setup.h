// The state in which vCPU 0 enters a loaded kernel. The other vCPUs need none: they wait for the
// kernel's SIPI.
//
//   ioctl(vcpu, KVM_GET_SREGS, &sregs);  // the reset state, whose APIC base is kept
//   RETURN_IF_ERROR(SetUpBootVcpu(memory, entry, &regs, &sregs));
//   ioctl(vcpu, KVM_SET_SREGS, &sregs);
//   ioctl(vcpu, KVM_SET_REGS, &regs);
//
// kLinux64: 64-bit mode, the first 4 GiB mapped one to one by 2 MiB pages, RSI = parameters
// (Linux 7.3, Documentation/arch/x86/boot.rst, "64-bit Boot Protocol"). kPvh: 32-bit protected mode
// without paging, EBX = parameters (arch/x86/platform/pvh/head.S). Both: flat segments, interrupts
// off. Writes the GDT and the page tables into guest RAM at kGdtAddress and kPageTablesAddress; the
// kernel replaces both.
#ifndef VMM_BOOT_VCPU_SETUP_H_
#define VMM_BOOT_VCPU_SETUP_H_

#include <linux/kvm.h>

#include "absl/status/status.h"
#include "guest_memory/guest_memory.h"
#include "vmm/boot/loader.h"

namespace vmm {

// Overwrites all of `regs`, and of `sregs` all but the APIC base and the interrupt bitmap.
absl::Status SetUpBootVcpu(const GuestMemory& memory, const BootEntry& entry, kvm_regs* regs,
                           kvm_sregs* sregs);

}  // namespace vmm

#endif  // VMM_BOOT_VCPU_SETUP_H_
