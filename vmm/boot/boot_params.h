// The page of facts that a kernel is handed at its entry: Linux's zero page, or PVH's start info.
//
//   RETURN_IF_ERROR(WriteZeroPage(memory, image.header, handover));   // at kZeroPageAddress
//   RETURN_IF_ERROR(WriteStartInfo(memory, handover));                // at kStartInfoAddress
//
// Sources: Linux 7.3, Documentation/arch/x86/{boot,zero-page}.rst and
// include/xen/interface/hvm/start_info.h.
#ifndef VMM_BOOT_BOOT_PARAMS_H_
#define VMM_BOOT_BOOT_PARAMS_H_

#include <asm/bootparam.h>
#include <stdint.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "guest_memory/address.h"
#include "guest_memory/guest_memory.h"
#include "vmm/boot/memory_map.h"

namespace vmm {

// One more fact for Linux, of a kind that the zero page has no field for: `type` is a SETUP_ number
// of Linux 7.3, arch/x86/include/uapi/asm/setup_data.h, `data` what follows the header there.
struct SetupData {
  uint32_t type = 0;
  std::vector<uint8_t> data;
};

struct Handover {
  GuestAddress kernel;        // where it was loaded
  GuestAddress command_line;  // NUL-terminated, below 4 GiB
  GuestRange initrd;          // size 0: none; below 4 GiB
  GuestAddress rsdp;
  std::vector<MemoryMapEntry> memory_map;  // at most kMaxMemoryMapEntries
  GuestAddress setup_data{0};              // of the first; 0: none
};

// Writes the list into kSetupDataArea, in order, and returns where it begins: 0 where it is empty.
// kInvalidArgument when it does not fit.
absl::StatusOr<GuestAddress> WriteSetupData(const GuestMemory& memory,
                                            absl::Span<const SetupData> list);

// `header` is the kernel's own, from its file.
absl::Status WriteZeroPage(const GuestMemory& memory, const setup_header& header,
                           const Handover& handover);

absl::Status WriteStartInfo(const GuestMemory& memory, const Handover& handover);

// struct hvm_start_info, version 1, and what it points to; little-endian, offsets fixed by the
// protocol.
struct PvhStartInfo {
  uint32_t magic = 0;
  uint32_t version = 0;
  uint32_t flags = 0;
  uint32_t module_count = 0;
  uint64_t modules = 0;
  uint64_t command_line = 0;
  uint64_t rsdp = 0;
  uint64_t memory_map = 0;
  uint32_t memory_map_count = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(PvhStartInfo) == 56);
inline constexpr uint32_t kPvhMagic = 0x336ec578;

struct PvhModule {
  uint64_t address = 0;
  uint64_t size = 0;
  uint64_t command_line = 0;
  uint64_t reserved = 0;
};
static_assert(sizeof(PvhModule) == 32);

struct PvhMemoryMapEntry {
  uint64_t address = 0;
  uint64_t size = 0;
  uint32_t type = 0;
  uint32_t reserved = 0;
};
static_assert(sizeof(PvhMemoryMapEntry) == 24);

}  // namespace vmm

#endif  // VMM_BOOT_BOOT_PARAMS_H_
