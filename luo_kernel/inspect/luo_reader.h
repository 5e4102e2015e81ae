// Reads what LUO handed over: "luo-v5".
//
//   handover.luo = InspectLuo(inspection, subtree.address, subtree.size);
#ifndef LUO_KERNEL_INSPECT_LUO_READER_H_
#define LUO_KERNEL_INSPECT_LUO_READER_H_

#include <stdint.h>

#include <optional>

#include "luo_kernel/inspect/inspection.h"
#include "luo_kernel/inspect/report.h"

namespace luo {

// Nothing where there is no LUO that could be read at `address`; else all that could be.
std::optional<LuoReport> InspectLuo(Inspection& inspection, uint64_t address, uint64_t size);

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_LUO_READER_H_
