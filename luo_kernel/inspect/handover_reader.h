// Reads a whole handover out of physical memory, and finds where one is.
//
//   Report report = ReadHandovers(*image, "/var/crash/vmcore", std::nullopt);
//
// What is wrong is told and passed over. Of kernels before "kho-v4" subtrees are read, LUO's first
// form among them, and not the map of what is preserved. On 7.3 the tree, the map of what is
// preserved and the handlers' own structures are complete at any time; LUO's sessions and FLBs are
// written down in reboot(KEXEC), shortly before the jump (kernel/liveupdate/luo_core.c,
// liveupdate_reboot()): before that the memfds are found by what their structures look like,
// without sessions and tokens. The next kernel frees what it has read: the map's nodes and LUO's
// structure while it boots, the blocks of sessions and files when /dev/liveupdate is first opened.
// What is found of them later is a matter of luck.
#ifndef LUO_KERNEL_INSPECT_HANDOVER_READER_H_
#define LUO_KERNEL_INSPECT_HANDOVER_READER_H_

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "luo_kernel/inspect/physical_reader.h"
#include "luo_kernel/inspect/report.h"

namespace luo {

// The handover whose device tree lies at `address`, or, without, every one that is found: the one
// with the most kexecs behind it first.
Report ReadHandovers(const PhysicalReader& memory, std::string source,
                     std::optional<uint64_t> address, const std::vector<MemoryRange>& scratch = {});

// `address` is that of KHO's device tree. `scratch`, where it is known, is where nothing may be
// preserved.
HandoverReport ReadHandover(const PhysicalReader& memory, uint64_t address, std::string origin,
                            std::vector<MemoryRange> scratch = {});

// The list of scratch regions at `address`, of `size` bytes, as the next kernel is given it; what
// of it is no region of memory is a problem.
std::vector<MemoryRange> ReadScratch(const PhysicalReader& memory, uint64_t address, uint64_t size,
                                     Problems& problems);

// Every page that is such a tree, of whichever version: the one that is going out, the one that
// came in, and old ones whose page nobody has written to since. Looks at each page of memory.
std::vector<uint64_t> FindHandovers(const PhysicalReader& memory);

// What KHO's device tree says by itself, without the memory that it speaks of.
HandoverReport ReadHandoverTree(absl::Span<const uint8_t> tree, std::string origin);

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_HANDOVER_READER_H_
