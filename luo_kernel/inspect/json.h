// A report as JSON, for programs.
//
//   {"source": "vmcore", "handovers": [{"address": "0x2221000", "preserved_bytes": 8192,
//     "problems": [], "luo": {"compatible": "luo-v5", "sessions": [{"name": "web1", "files": [
//     {"token": "0x1", "compatible": "memfd-v2", "memfd": {"size": 4096, ...}}]}]}, ...}]}
//
// Addresses and tokens are strings, since they may have more bits than other programs' numbers;
// sizes are numbers. "unassigned" are memfds of sessions that are not written down. "name_hex" is a
// session's name byte by byte, "name" what is readable of it. What is absent is null. Fields are
// added, not changed.
#ifndef LUO_KERNEL_INSPECT_JSON_H_
#define LUO_KERNEL_INSPECT_JSON_H_

#include <string>

#include "luo_kernel/inspect/extract.h"
#include "luo_kernel/inspect/report.h"

namespace luo {

// `extracted`, where given, says where the files' contents are.
std::string Json(const Report& report, const ExtractedFiles* extracted = nullptr);

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_JSON_H_
