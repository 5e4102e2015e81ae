// Reads what the memfd handler handed over for one file, "memfd-v2", and finds those that no
// session names yet.
//
//   file.memfd = InspectMemfd(inspection, "session \"a\", token 0x1", file.data);
//   report.unassigned = FindMemfds(inspection);
#ifndef LUO_KERNEL_INSPECT_MEMFD_READER_H_
#define LUO_KERNEL_INSPECT_MEMFD_READER_H_

#include <stdint.h>

#include <optional>
#include <string>
#include <vector>

#include "luo_kernel/inspect/inspection.h"
#include "luo_kernel/inspect/report.h"

namespace luo {

// Nothing where its structure at `address` cannot be read; else all that could be. `what` names the
// file.
std::optional<MemfdReport> InspectMemfd(Inspection& inspection, const std::string& what,
                                        uint64_t address);

// The memfds among the preserved pages that nothing has claimed, by ascending address. A page is
// taken for one where it says nothing that contradicts that: its numbers fit each other, it points
// at a list of folios, that at a folio, and all of them are preserved. Files of no bytes cannot be
// told from empty pages.
std::vector<MemfdReport> FindMemfds(Inspection& inspection);

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_MEMFD_READER_H_
