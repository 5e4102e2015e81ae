// Reads what LUO handed over: "luo-v5", and "luo-v1" of the first release.
//
//   handover.luo = InspectLuo(inspection, subtree.address, subtree.size);
#ifndef LUO_KERNEL_INSPECT_LUO_READER_H_
#define LUO_KERNEL_INSPECT_LUO_READER_H_

#include <stdint.h>

#include <optional>
#include <string>

#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/inspect/inspection.h"
#include "luo_kernel/inspect/report.h"

namespace luo {

// Nothing where there is no LUO that could be read at `address`; else all that could be.
std::optional<LuoReport> InspectLuo(Inspection& inspection, uint64_t address, uint64_t size);

// One file of the session that `session` names.
FileReport InspectFile(Inspection& inspection, const std::string& session,
                       const abi::LuoFileSer& ser);
// One session with its files.
SessionReport InspectSession(Inspection& inspection, const abi::LuoSessionSer& ser);

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_LUO_READER_H_
