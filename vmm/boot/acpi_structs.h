// The ACPI tables' layouts, as ACPI 6.3 has them (sections and tables named with each). Packed,
// little-endian.
#ifndef VMM_BOOT_ACPI_STRUCTS_H_
#define VMM_BOOT_ACPI_STRUCTS_H_

#include <stddef.h>
#include <stdint.h>

namespace vmm {

#pragma pack(push, 1)

// 5.2.5.3. `checksum` is over the first 20 bytes, `extended_checksum` over all.
struct AcpiRsdp {
  char signature[8];
  uint8_t checksum;
  char oem_id[6];
  uint8_t revision;
  uint32_t rsdt_address;
  uint32_t length;
  uint64_t xsdt_address;
  uint8_t extended_checksum;
  uint8_t reserved[3];
};
static_assert(sizeof(AcpiRsdp) == 36);

// 5.2.6: how every table but the RSDP and the FACS begins. All bytes of a table add up to 0.
struct AcpiHeader {
  char signature[4];
  uint32_t length;
  uint8_t revision;
  uint8_t checksum;
  char oem_id[6];
  char oem_table_id[8];
  uint32_t oem_revision;
  char creator_id[4];
  uint32_t creator_revision;
};
static_assert(sizeof(AcpiHeader) == 36);

// 5.2.3.2.
struct AcpiRegister {
  uint8_t space;
  uint8_t bit_width;
  uint8_t bit_offset;
  uint8_t access_size;
  uint64_t address;
};
static_assert(sizeof(AcpiRegister) == 12);

// 5.2.9.
struct AcpiFadt {
  AcpiHeader header;
  uint32_t firmware_ctrl;
  uint32_t dsdt;
  uint8_t reserved1;
  uint8_t preferred_pm_profile;
  uint16_t sci_int;
  uint32_t smi_cmd;
  uint8_t acpi_enable;
  uint8_t acpi_disable;
  uint8_t s4bios_req;
  uint8_t pstate_cnt;
  uint32_t pm1a_evt_blk;
  uint32_t pm1b_evt_blk;
  uint32_t pm1a_cnt_blk;
  uint32_t pm1b_cnt_blk;
  uint32_t pm2_cnt_blk;
  uint32_t pm_tmr_blk;
  uint32_t gpe0_blk;
  uint32_t gpe1_blk;
  uint8_t pm1_evt_len;
  uint8_t pm1_cnt_len;
  uint8_t pm2_cnt_len;
  uint8_t pm_tmr_len;
  uint8_t gpe0_blk_len;
  uint8_t gpe1_blk_len;
  uint8_t gpe1_base;
  uint8_t cst_cnt;
  uint16_t p_lvl2_lat;
  uint16_t p_lvl3_lat;
  uint16_t flush_size;
  uint16_t flush_stride;
  uint8_t duty_offset;
  uint8_t duty_width;
  uint8_t day_alrm;
  uint8_t mon_alrm;
  uint8_t century;
  uint16_t iapc_boot_arch;
  uint8_t reserved2;
  uint32_t flags;
  AcpiRegister reset_reg;
  uint8_t reset_value;
  uint16_t arm_boot_arch;
  uint8_t minor_version;
  uint64_t x_firmware_ctrl;
  uint64_t x_dsdt;
  AcpiRegister x_pm1a_evt_blk;
  AcpiRegister x_pm1b_evt_blk;
  AcpiRegister x_pm1a_cnt_blk;
  AcpiRegister x_pm1b_cnt_blk;
  AcpiRegister x_pm2_cnt_blk;
  AcpiRegister x_pm_tmr_blk;
  AcpiRegister x_gpe0_blk;
  AcpiRegister x_gpe1_blk;
  AcpiRegister sleep_control_reg;
  AcpiRegister sleep_status_reg;
  uint64_t hypervisor_vendor_identity;
};
static_assert(sizeof(AcpiFadt) == 276);
static_assert(offsetof(AcpiFadt, iapc_boot_arch) == 109);
static_assert(offsetof(AcpiFadt, reset_reg) == 116);
static_assert(offsetof(AcpiFadt, x_dsdt) == 140);

// 5.2.10; 64-byte aligned, without a checksum.
struct AcpiFacs {
  char signature[4];
  uint32_t length;
  uint32_t hardware_signature;
  uint32_t firmware_waking_vector;
  uint32_t global_lock;
  uint32_t flags;
  uint64_t x_firmware_waking_vector;
  uint8_t version;
  uint8_t reserved1[3];
  uint32_t ospm_flags;
  uint8_t reserved2[24];
};
static_assert(sizeof(AcpiFacs) == 64);

// 5.2.12, and its entries.
struct AcpiMadt {
  AcpiHeader header;
  uint32_t local_apic_address;
  uint32_t flags;
};
static_assert(sizeof(AcpiMadt) == 44);

struct MadtLocalApic {  // 5.2.12.2
  uint8_t type = 0;
  uint8_t length = sizeof(MadtLocalApic);
  uint8_t processor_uid;
  uint8_t apic_id;
  uint32_t flags;
};
static_assert(sizeof(MadtLocalApic) == 8);

struct MadtIoApic {  // 5.2.12.3
  uint8_t type = 1;
  uint8_t length = sizeof(MadtIoApic);
  uint8_t io_apic_id;
  uint8_t reserved = 0;
  uint32_t address;
  uint32_t gsi_base;
};
static_assert(sizeof(MadtIoApic) == 12);

struct MadtInterruptOverride {  // 5.2.12.5
  uint8_t type = 2;
  uint8_t length = sizeof(MadtInterruptOverride);
  uint8_t bus;
  uint8_t source;
  uint32_t gsi;
  uint16_t flags;
};
static_assert(sizeof(MadtInterruptOverride) == 10);

struct MadtLocalApicNmi {  // 5.2.12.7
  uint8_t type = 4;
  uint8_t length = sizeof(MadtLocalApicNmi);
  uint8_t processor_uid;
  uint16_t flags;
  uint8_t lint;
};
static_assert(sizeof(MadtLocalApicNmi) == 6);

struct MadtLocalX2Apic {  // 5.2.12.12
  uint8_t type = 9;
  uint8_t length = sizeof(MadtLocalX2Apic);
  uint16_t reserved = 0;
  uint32_t x2apic_id;
  uint32_t flags;
  uint32_t processor_uid;
};
static_assert(sizeof(MadtLocalX2Apic) == 16);

struct MadtLocalX2ApicNmi {  // 5.2.12.13
  uint8_t type = 10;
  uint8_t length = sizeof(MadtLocalX2ApicNmi);
  uint16_t flags;
  uint32_t processor_uid;
  uint8_t lint;
  uint8_t reserved[3] = {};
};
static_assert(sizeof(MadtLocalX2ApicNmi) == 12);

#pragma pack(pop)

}  // namespace vmm

#endif  // VMM_BOOT_ACPI_STRUCTS_H_
