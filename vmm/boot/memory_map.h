// The memory map that a guest's kernel is told: the RAM there is, less what its PC keeps for
// itself.
//
//   ASSIGN_OR_RETURN(std::vector<MemoryMapEntry> map, BuildMemoryMap(memory));
//
// In ascending order, without overlaps. Types are those of ACPI's "System Address Map Interfaces"
// (ACPI 6.3, table 15-374), which both the zero page and PVH's start info use.
#ifndef VMM_BOOT_MEMORY_MAP_H_
#define VMM_BOOT_MEMORY_MAP_H_

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "absl/status/statusor.h"
#include "guest_memory/address.h"
#include "guest_memory/guest_memory.h"

namespace vmm {

enum class MemoryType : uint32_t { kRam = 1, kReserved = 2 };

struct MemoryMapEntry {
  GuestRange range;
  MemoryType type;
  friend bool operator==(const MemoryMapEntry&, const MemoryMapEntry&) = default;
};

// What fits the zero page (E820_MAX_ENTRIES_ZEROPAGE), less one that Linux adds to a PVH guest's
// map.
inline constexpr size_t kMaxMemoryMapEntries = 127;

// kInvalidArgument when RAM doesn't begin at 0, has less than 2 MiB there, or is in more pieces
// than the map can hold.
absl::StatusOr<std::vector<MemoryMapEntry>> BuildMemoryMap(const GuestMemory& memory);

// The end of the RAM that begins at 0, at most kPciHoleStart: where everything that is loaded lies
// below.
GuestAddress LowMemoryEnd(const GuestMemory& memory);

}  // namespace vmm

#endif  // VMM_BOOT_MEMORY_MAP_H_
