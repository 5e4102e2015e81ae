// The PC that a guest finds: ports, interrupts and addresses of its fixed hardware, and where the
// loader puts things. The ACPI tables promise these numbers to the guest and the machine keeps the
// promise, so both take them from here.
//
//   RETURN_IF_ERROR(pio.Insert(kSerialPort, kSerialPortCount, &serial));
//
// Guest-visible and constant for a VM's whole life, across updates too: a number here may be added,
// never changed.
#ifndef VMM_BOOT_PLATFORM_H_
#define VMM_BOOT_PLATFORM_H_

#include <stdint.h>

#include "guest_memory/address.h"
#include "guest_memory/guest_memory.h"

namespace vmm {

// I/O ports. COM1 is where every PC has it. The power management block lies where QEMU's and
// Firecracker's guests know it from: any free range would do, the FADT says which
// (ACPI 6.3, 4.8.3). Port 0xcf9 is the reset control register of Intel's chipsets since the PIIX3;
// 0x06 is "full reset, now".
inline constexpr uint16_t kSerialPort = 0x3f8;
inline constexpr uint16_t kSerialPortCount = 8;
inline constexpr uint16_t kPm1EventPort = 0x600;
inline constexpr uint8_t kPm1EventPortCount = 4;
inline constexpr uint16_t kPm1ControlPort = 0x604;
inline constexpr uint8_t kPm1ControlPortCount = 2;
inline constexpr uint16_t kPmTimerPort = 0x608;
inline constexpr uint8_t kPmTimerPortCount = 4;
inline constexpr uint16_t kResetPort = 0xcf9;
inline constexpr uint8_t kResetValue = 0x06;
// SLP_TYP of S5, soft off (ACPI 6.3, 7.4.2): what \_S5 holds and PM1_CNT then gets.
inline constexpr uint8_t kSleepTypeS5 = 5;

// Global system interrupts: inputs of the one IOAPIC. The timer's ISA IRQ 0 arrives at input 2, as
// on every PC since the MP specification: KVM's routing table has to say so too (its default sends
// GSI 0 to input 0).
inline constexpr uint32_t kTimerIsaIrq = 0;
inline constexpr uint32_t kTimerGsi = 2;
inline constexpr uint32_t kSerialGsi = 4;
inline constexpr uint32_t kSciGsi = 9;

// Interrupt controllers (Intel SDM 3A, 11.4.1; 82093AA datasheet). Both lie in the PCI hole.
inline constexpr GuestAddress kIoApicAddress(0xfec00000);
inline constexpr uint8_t kIoApicId = 0;
inline constexpr GuestAddress kLocalApicAddress(0xfee00000);

// One page and three that KVM takes for itself on Intel hosts without "unrestricted guest":
// KVM_SET_IDENTITY_MAP_ADDR and KVM_SET_TSS_ADDR (Linux, Documentation/virt/kvm/api.rst, 4.64
// and 4.36). The guest's memory map reserves them.
inline constexpr GuestAddress kKvmIdentityMapAddress(0xfeffc000);
inline constexpr GuestAddress kKvmTssAddress(0xfeffd000);
inline constexpr GuestRange kKvmReserved{kKvmIdentityMapAddress, 0x4000};
static_assert(kKvmIdentityMapAddress.value() >= kPciHoleStart);

// The first MiB, as a PC's BIOS leaves it: RAM up to the EBDA, then the ISA hole, whose last part
// holds the RSDP, where kernels that aren't told search for it (ACPI 6.3, 5.2.5.1), and here the
// other tables too.
inline constexpr GuestAddress kGdtAddress(0x500);
inline constexpr GuestAddress kStartInfoAddress(
    0x6000);  // PVH's start info, its modules and memory map: one page
inline constexpr GuestAddress kZeroPageAddress(0x7000);  // struct boot_params: one page
inline constexpr GuestRange kSetupDataArea{GuestAddress(0x8000), 0x1000};  // struct setup_data
inline constexpr GuestAddress kPageTablesAddress(0x9000);  // PML4, PDPT, four page directories
inline constexpr GuestRange kCommandLineArea{GuestAddress(0x20000), 0x10000};
inline constexpr GuestAddress kLowRamEnd(0x9fc00);
inline constexpr GuestRange kAcpiArea{GuestAddress(0xe0000), 0x20000};
inline constexpr GuestAddress kHighRamStart(0x100000);

// As many as Linux brings online. A guest has neither interrupt remapping nor
// KVM_FEATURE_MSI_EXT_DEST_ID, so no MSI can address an APIC ID above 255, and Linux uses no CPU
// with such an ID (Linux 7.3, arch/x86/kernel/apic/apic.c: try_to_enable_x2apic()).
inline constexpr int kMaxVcpus = 256;

}  // namespace vmm

#endif  // VMM_BOOT_PLATFORM_H_
