// Reads what the memfd handler handed over for one file: "memfd-v2".
//
//   file.memfd = InspectMemfd(inspection, "session \"a\", token 0x1", file.data);
#ifndef LUO_KERNEL_INSPECT_MEMFD_READER_H_
#define LUO_KERNEL_INSPECT_MEMFD_READER_H_

#include <stdint.h>

#include <optional>
#include <string>

#include "luo_kernel/inspect/inspection.h"
#include "luo_kernel/inspect/report.h"

namespace luo {

// Nothing where its structure at `address` cannot be read; else all that could be. `what` names the
// file.
std::optional<MemfdReport> InspectMemfd(Inspection& inspection, const std::string& what,
                                        uint64_t address);

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_MEMFD_READER_H_
