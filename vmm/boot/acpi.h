// The ACPI tables of a guest's PC: RSDP, XSDT, FADT, FACS, MADT and DSDT, in kAcpiArea.
//
//   ASSIGN_OR_RETURN(GuestAddress rsdp, WriteAcpiTables(memory, 4));
//
// What they promise is in vmm/boot/platform.h: fixed (not "hardware-reduced") power management with
// a power button, a PM timer, S5 and a reset register; no CMOS clock, no keyboard controller, no
// VGA; the PICs, one IOAPIC, one local APIC a vCPU whose id is the vCPU's number; COM1. Written
// after ACPI 6.3. No tables are ever changed by the guest's devices, so they travel through an
// update as the RAM that they are.
#ifndef VMM_BOOT_ACPI_H_
#define VMM_BOOT_ACPI_H_

#include <stdint.h>

#include <vector>

#include "absl/status/statusor.h"
#include "guest_memory/address.h"
#include "guest_memory/guest_memory.h"

namespace vmm {

// The bytes that lie from kAcpiArea's start on, the RSDP first. `vcpu_count` is 1 to kMaxVcpus,
// kInvalidArgument otherwise.
absl::StatusOr<std::vector<uint8_t>> BuildAcpiTables(int vcpu_count);

// Puts them there; gives the RSDP's address.
absl::StatusOr<GuestAddress> WriteAcpiTables(const GuestMemory& memory, int vcpu_count);

}  // namespace vmm

#endif  // VMM_BOOT_ACPI_H_
