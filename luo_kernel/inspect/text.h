// A report as a picture for a terminal: what is preserved by size, then sessions and files, then
// what is wrong. UTF-8, at most 100 columns where names are not longer.
//
//   fputs(Text(report, {.color = isatty(STDOUT_FILENO) == 1}).c_str(), stdout);
#ifndef LUO_KERNEL_INSPECT_TEXT_H_
#define LUO_KERNEL_INSPECT_TEXT_H_

#include <stdint.h>

#include <string>

#include "luo_kernel/inspect/report.h"

namespace luo {

struct TextOptions {
  bool color = false;
  bool all = false;  // every session and file; else the first of many
};

std::string Text(const Report& report, const TextOptions& options);

// "4 KiB", "1.5 GiB".
std::string HumanBytes(uint64_t bytes);

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_TEXT_H_
