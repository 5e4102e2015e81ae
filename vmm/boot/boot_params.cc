#include "vmm/boot/boot_params.h"

#include <stddef.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/boot/platform.h"

namespace vmm {
namespace {

static_assert(sizeof(boot_params) == 4096);
static_assert(sizeof(setup_data) == 16 && offsetof(setup_data, data) == 16);
static_assert(kZeroPageAddress.value() + sizeof(boot_params) <= kSetupDataArea.start.value());
static_assert(kSetupDataArea.start.value() + kSetupDataArea.size <= kPageTablesAddress.value());
static_assert(kMaxMemoryMapEntries <= E820_MAX_ENTRIES_ZEROPAGE);

constexpr uint8_t kLoaderUndefined = 0xff;  // type_of_loader of who has no assigned number
constexpr uint16_t kVideoModeNormal =
    0xffff;  // boot.rst, "Special Command Line Options", vga=normal

// The start info's page: itself, then its one module, then the memory map.
constexpr uint64_t kModulesOffset = 0x40;
constexpr uint64_t kMemoryMapOffset = 0x80;
static_assert(sizeof(PvhStartInfo) <= kModulesOffset);
static_assert(kModulesOffset + sizeof(PvhModule) <= kMemoryMapOffset);
static_assert(kStartInfoAddress.value() + kMemoryMapOffset +
                  kMaxMemoryMapEntries * sizeof(PvhMemoryMapEntry) <=
              kZeroPageAddress.value());

absl::Status CheckMapFits(const Handover& handover) {
  if (handover.memory_map.size() <= kMaxMemoryMapEntries) return absl::OkStatus();
  return absl::InvalidArgumentError("memory map too long");
}

}  // namespace

absl::StatusOr<GuestAddress> WriteSetupData(const GuestMemory& memory,
                                            absl::Span<const SetupData> list) {
  constexpr uint64_t kAlignment = 8;
  uint64_t used = 0;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::vector<uint8_t>& data = list[i].data;
    const uint64_t room = kSetupDataArea.size - used;
    if (room < sizeof(setup_data) || data.size() > room - sizeof(setup_data)) {
      return absl::InvalidArgumentError(
          absl::StrCat("setup data of more than ", kSetupDataArea.size, " bytes"));
    }
    const GuestAddress here(kSetupDataArea.start.value() + used);
    const uint64_t end = used + sizeof(setup_data) + data.size();
    used = (end + kAlignment - 1) & -kAlignment;
    const bool last = i + 1 == list.size();
    const setup_data header = {.next = last ? 0 : kSetupDataArea.start.value() + used,
                               .type = list[i].type,
                               .len = static_cast<uint32_t>(data.size())};
    RETURN_IF_ERROR(memory.Store(here, header));
    RETURN_IF_ERROR(memory.Write(GuestAddress(here.value() + sizeof(header)), data));
  }
  return list.empty() ? GuestAddress(0) : kSetupDataArea.start;
}

absl::Status WriteZeroPage(const GuestMemory& memory, const setup_header& header,
                           const Handover& handover) {
  RETURN_IF_ERROR(CheckMapFits(handover));
  boot_params params = {};
  params.hdr = header;
  params.hdr.type_of_loader = kLoaderUndefined;
  params.hdr.vid_mode = kVideoModeNormal;
  params.hdr.code32_start = static_cast<uint32_t>(handover.kernel.value());
  params.hdr.cmd_line_ptr = static_cast<uint32_t>(handover.command_line.value());
  params.hdr.setup_data = handover.setup_data.value();
  params.hdr.ramdisk_image = static_cast<uint32_t>(handover.initrd.start.value());
  params.hdr.ramdisk_size = static_cast<uint32_t>(handover.initrd.size);
  params.acpi_rsdp_addr = handover.rsdp.value();
  params.e820_entries = static_cast<uint8_t>(handover.memory_map.size());
  for (size_t i = 0; i < handover.memory_map.size(); ++i) {
    const MemoryMapEntry& entry = handover.memory_map[i];
    params.e820_table[i] = {.addr = entry.range.start.value(),
                            .size = entry.range.size,
                            .type = static_cast<uint32_t>(entry.type)};
  }
  return memory.Store(kZeroPageAddress, params);
}

absl::Status WriteStartInfo(const GuestMemory& memory, const Handover& handover) {
  RETURN_IF_ERROR(CheckMapFits(handover));
  const GuestAddress modules(kStartInfoAddress.value() + kModulesOffset);
  const GuestAddress memory_map(kStartInfoAddress.value() + kMemoryMapOffset);
  PvhStartInfo info = {
      .magic = kPvhMagic,
      .version = 1,
      .command_line = handover.command_line.value(),
      .rsdp = handover.rsdp.value(),
      .memory_map = memory_map.value(),
      .memory_map_count = static_cast<uint32_t>(handover.memory_map.size()),
  };
  if (handover.initrd.size > 0) {
    info.module_count = 1;
    info.modules = modules.value();
    RETURN_IF_ERROR(memory.Store(modules, PvhModule{.address = handover.initrd.start.value(),
                                                    .size = handover.initrd.size}));
  }
  std::vector<PvhMemoryMapEntry> entries;
  for (const MemoryMapEntry& entry : handover.memory_map) {
    entries.push_back({.address = entry.range.start.value(),
                       .size = entry.range.size,
                       .type = static_cast<uint32_t>(entry.type)});
  }
  RETURN_IF_ERROR(
      memory.Write(memory_map, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(entries.data()),
                                                   entries.size() * sizeof(PvhMemoryMapEntry))));
  return memory.Store(kStartInfoAddress, info);
}

}  // namespace vmm
