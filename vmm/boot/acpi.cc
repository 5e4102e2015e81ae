#include "vmm/boot/acpi.h"

#include <string.h>

#include <numeric>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "vmm/boot/acpi_structs.h"
#include "vmm/boot/aml.h"
#include "vmm/boot/platform.h"

namespace vmm {
namespace {

using Bytes = std::vector<uint8_t>;

constexpr uint8_t kSystemIo = 1;    // AcpiRegister::space
constexpr uint8_t kByteAccess = 1;  // AcpiRegister::access_size
constexpr uint8_t kWordAccess = 2;
constexpr uint8_t kDwordAccess = 3;
// FADT, table 5-34.
constexpr uint32_t kWbinvd = 1 << 0;
constexpr uint32_t kProcC1 = 1 << 2;
constexpr uint32_t kNoFixedSleepButton = 1 << 5;
constexpr uint32_t kNoFixedRtcWake = 1 << 6;
constexpr uint32_t kTimerIs32Bits = 1 << 8;
constexpr uint32_t kResetRegister = 1 << 10;
// FADT, table 5-35.
constexpr uint16_t kLegacyDevices = 1 << 0;
constexpr uint16_t kNoVga = 1 << 2;
constexpr uint16_t kNoCmosRtc = 1 << 5;
constexpr uint16_t kNoC2 = 101;  // a latency above the valid ones: the state doesn't exist
constexpr uint16_t kNoC3 = 1001;
// MADT, tables 5-44, 5-47 and 5-50.
constexpr uint32_t kPcAtCompatible = 1;
constexpr uint32_t kApicEnabled = 1;
constexpr uint16_t kBusDefault = 0;
constexpr uint16_t kActiveHighLevel = 0xd;
constexpr uint8_t kEveryProcessor = 0xff;
constexpr uint32_t kEveryX2Processor = 0xffffffff;
constexpr uint8_t kNmiLint = 1;
// xAPIC ids end where broadcast is; from here on a vCPU has an x2APIC id.
constexpr int kFirstX2ApicId = 255;

constexpr uint32_t kPnp0501 = 0x0105d041;  // EISAID("PNP0501"), a 16550A (19.3.4)
constexpr uint8_t kPresentEnabled = 0xf;   // _STA (6.3.7)

constexpr char kOemId[] = "VMM   ";
constexpr char kOemTableId[] = "VMMPC   ";
constexpr char kCreatorId[] = "VMM ";

uint8_t Checksum(absl::Span<const uint8_t> bytes) {
  return static_cast<uint8_t>(-std::accumulate(bytes.begin(), bytes.end(), 0));
}

template <typename T>
void AppendStruct(Bytes& to, const T& value) {
  const auto* bytes = reinterpret_cast<const uint8_t*>(&value);
  to.insert(to.end(), bytes, bytes + sizeof(value));
}

AcpiHeader Header(absl::string_view signature, uint8_t revision) {
  AcpiHeader header = {};
  memcpy(header.signature, signature.data(), sizeof(header.signature));
  header.revision = revision;
  memcpy(header.oem_id, kOemId, sizeof(header.oem_id));
  memcpy(header.oem_table_id, kOemTableId, sizeof(header.oem_table_id));
  header.oem_revision = 1;
  memcpy(header.creator_id, kCreatorId, sizeof(header.creator_id));
  header.creator_revision = 1;
  return header;
}

// Fills in the length and the checksum of a whole table.
Bytes Sealed(Bytes table) {
  const auto length = static_cast<uint32_t>(table.size());
  memcpy(&table[offsetof(AcpiHeader, length)], &length, sizeof(length));
  table[offsetof(AcpiHeader, checksum)] = Checksum(table);
  return table;
}

AcpiRegister IoRegister(uint16_t port, uint8_t bytes, uint8_t access_size) {
  return {.space = kSystemIo,
          .bit_width = static_cast<uint8_t>(bytes * 8),
          .bit_offset = 0,
          .access_size = access_size,
          .address = port};
}

Aml SerialDevice() {
  // Resource descriptors: I/O port range (6.4.2.5), IRQ without flags (6.4.2.1: edge, active high),
  // end tag (6.4.2.9).
  const auto low = [](uint32_t value) { return static_cast<uint8_t>(value); };
  const auto high = [](uint32_t value) { return static_cast<uint8_t>(value >> 8); };
  constexpr uint32_t kIrqMask = 1 << kSerialGsi;
  const Bytes resources = {0x47,
                           0x01,
                           low(kSerialPort),
                           high(kSerialPort),
                           low(kSerialPort),
                           high(kSerialPort),
                           1,
                           kSerialPortCount,
                           0x22,
                           low(kIrqMask),
                           high(kIrqMask),
                           0x79,
                           0x00};
  Aml body = AmlName("_HID", AmlInteger(kPnp0501));
  Append(body, AmlName("_UID", AmlInteger(0)));
  Append(body, AmlName("_STA", AmlInteger(kPresentEnabled)));
  Append(body, AmlName("_CRS", AmlBuffer(resources)));
  return AmlDevice("COM1", body);
}

Aml ProcessorDevice(int vcpu) {
  Aml body = AmlName("_HID", AmlString("ACPI0007"));
  Append(body, AmlName("_UID", AmlInteger(vcpu)));
  Append(body, AmlName("_STA", AmlInteger(kPresentEnabled)));
  return AmlDevice(absl::StrFormat("C%03X", vcpu), body);
}

Bytes Dsdt(int vcpu_count) {
  Aml devices = SerialDevice();
  for (int vcpu = 0; vcpu < vcpu_count; ++vcpu) Append(devices, ProcessorDevice(vcpu));

  Bytes table;
  AppendStruct(table, Header("DSDT", 2));
  // PM1a's and PM1b's SLP_TYP, and two reserved numbers.
  const Aml s5[] = {AmlInteger(kSleepTypeS5), AmlInteger(kSleepTypeS5), AmlInteger(0),
                    AmlInteger(0)};
  Append(table, AmlName("_S5_", AmlPackage(s5)));
  Append(table, AmlRootScope("_SB_", devices));
  return Sealed(std::move(table));
}

Bytes Fadt(uint64_t facs, uint64_t dsdt) {
  AcpiFadt fadt = {};
  fadt.header = Header("FACP", 6);
  fadt.minor_version = 3;
  // The FACS by its 32-bit field only: 5.2.9 wants the other zero then.
  fadt.firmware_ctrl = static_cast<uint32_t>(facs);
  fadt.dsdt = static_cast<uint32_t>(dsdt);
  fadt.x_dsdt = dsdt;
  // SMI_CMD 0: the hardware is in ACPI mode from the start (5.2.9).
  fadt.sci_int = kSciGsi;
  fadt.pm1a_evt_blk = kPm1EventPort;
  fadt.pm1_evt_len = kPm1EventPortCount;
  fadt.x_pm1a_evt_blk = IoRegister(kPm1EventPort, kPm1EventPortCount, kWordAccess);
  fadt.pm1a_cnt_blk = kPm1ControlPort;
  fadt.pm1_cnt_len = kPm1ControlPortCount;
  fadt.x_pm1a_cnt_blk = IoRegister(kPm1ControlPort, kPm1ControlPortCount, kWordAccess);
  fadt.pm_tmr_blk = kPmTimerPort;
  fadt.pm_tmr_len = kPmTimerPortCount;
  fadt.x_pm_tmr_blk = IoRegister(kPmTimerPort, kPmTimerPortCount, kDwordAccess);
  fadt.reset_reg = IoRegister(kResetPort, 1, kByteAccess);
  fadt.reset_value = kResetValue;
  fadt.p_lvl2_lat = kNoC2;
  fadt.p_lvl3_lat = kNoC3;
  fadt.iapc_boot_arch = kLegacyDevices | kNoVga | kNoCmosRtc;
  // PWR_BUTTON (bit 4) stays clear, which means: there is one, in the fixed registers.
  fadt.flags =
      kWbinvd | kProcC1 | kNoFixedSleepButton | kNoFixedRtcWake | kTimerIs32Bits | kResetRegister;
  Bytes table;
  AppendStruct(table, fadt);
  return Sealed(std::move(table));
}

void AppendLocalApic(Bytes& madt, int vcpu) {
  if (vcpu < kFirstX2ApicId) {
    const auto id = static_cast<uint8_t>(vcpu);
    AppendStruct(madt, MadtLocalApic{.processor_uid = id, .apic_id = id, .flags = kApicEnabled});
  } else {
    const auto id = static_cast<uint32_t>(vcpu);
    AppendStruct(madt,
                 MadtLocalX2Apic{.x2apic_id = id, .flags = kApicEnabled, .processor_uid = id});
  }
}

Bytes Madt(int vcpu_count) {
  AcpiMadt madt = {};
  madt.header = Header("APIC", 5);
  madt.local_apic_address = static_cast<uint32_t>(kLocalApicAddress.value());
  madt.flags = kPcAtCompatible;
  Bytes table;
  AppendStruct(table, madt);
  for (int vcpu = 0; vcpu < vcpu_count; ++vcpu) AppendLocalApic(table, vcpu);
  AppendStruct(table, MadtIoApic{.io_apic_id = kIoApicId,
                                 .address = static_cast<uint32_t>(kIoApicAddress.value()),
                                 .gsi_base = 0});
  AppendStruct(table,
               MadtInterruptOverride{
                   .bus = 0, .source = kTimerIsaIrq, .gsi = kTimerGsi, .flags = kBusDefault});
  AppendStruct(table, MadtInterruptOverride{
                          .bus = 0, .source = kSciGsi, .gsi = kSciGsi, .flags = kActiveHighLevel});
  AppendStruct(
      table,
      MadtLocalApicNmi{.processor_uid = kEveryProcessor, .flags = kBusDefault, .lint = kNmiLint});
  if (vcpu_count > kFirstX2ApicId) {
    AppendStruct(table,
                 MadtLocalX2ApicNmi{
                     .flags = kBusDefault, .processor_uid = kEveryX2Processor, .lint = kNmiLint});
  }
  return Sealed(std::move(table));
}

Bytes Xsdt(absl::Span<const uint64_t> tables) {
  Bytes table;
  AppendStruct(table, Header("XSDT", 1));
  for (uint64_t address : tables) AppendStruct(table, address);
  return Sealed(std::move(table));
}

AcpiRsdp Rsdp(uint64_t xsdt) {
  AcpiRsdp rsdp = {};
  memcpy(rsdp.signature, "RSD PTR ", sizeof(rsdp.signature));
  memcpy(rsdp.oem_id, kOemId, sizeof(rsdp.oem_id));
  rsdp.revision = 2;
  rsdp.length = sizeof(rsdp);
  rsdp.xsdt_address = xsdt;
  const auto* bytes = reinterpret_cast<const uint8_t*>(&rsdp);
  rsdp.checksum = Checksum({bytes, offsetof(AcpiRsdp, length)});
  rsdp.extended_checksum = Checksum({bytes, sizeof(rsdp)});
  return rsdp;
}

AcpiFacs Facs() {
  AcpiFacs facs = {};
  memcpy(facs.signature, "FACS", sizeof(facs.signature));
  facs.length = sizeof(facs);
  facs.version = 2;
  return facs;
}

// Appends at the next multiple of 64, which the FACS wants; gives the guest-physical address.
uint64_t Place(Bytes& area, absl::Span<const uint8_t> table) {
  constexpr size_t kAlignment = 64;
  area.resize((area.size() + kAlignment - 1) / kAlignment * kAlignment);
  const uint64_t address = kAcpiArea.start.value() + area.size();
  area.insert(area.end(), table.begin(), table.end());
  return address;
}

}  // namespace

absl::StatusOr<std::vector<uint8_t>> BuildAcpiTables(int vcpu_count) {
  if (vcpu_count < 1 || vcpu_count > kMaxVcpus) {
    return absl::InvalidArgumentError(
        absl::StrCat(vcpu_count, " vCPUs; a guest has 1 to ", kMaxVcpus));
  }
  Bytes area(sizeof(AcpiRsdp));
  Bytes facs;
  AppendStruct(facs, Facs());
  const uint64_t facs_address = Place(area, facs);
  const uint64_t dsdt_address = Place(area, Dsdt(vcpu_count));
  const uint64_t fadt_address = Place(area, Fadt(facs_address, dsdt_address));
  const uint64_t madt_address = Place(area, Madt(vcpu_count));
  const AcpiRsdp rsdp = Rsdp(Place(area, Xsdt({fadt_address, madt_address})));
  memcpy(area.data(), &rsdp, sizeof(rsdp));
  return area;
}

absl::StatusOr<GuestAddress> WriteAcpiTables(const GuestMemory& memory, int vcpu_count) {
  ASSIGN_OR_RETURN(std::vector<uint8_t> tables, BuildAcpiTables(vcpu_count));
  RETURN_IF_ERROR(memory.Write(kAcpiArea.start, tables));
  return kAcpiArea.start;
}

}  // namespace vmm
