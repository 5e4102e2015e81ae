// The command line of the next kernel, from luoctl's options.
//
//   ASSIGN_OR_RETURN(std::string line, ComposeCommandLine({.append = "quiet"}, running));
#ifndef TOOLS_LUOCTL_COMMAND_LINE_H_
#define TOOLS_LUOCTL_COMMAND_LINE_H_

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace vmm {

struct CommandLineOptions {
  bool reuse = false;   // the running kernel's, as it is
  std::string append;   // the running kernel's and this after it, but before `--` and init's words
  std::string replace;  // this and nothing else
};

// `running` is what /proc/cmdline says, its newline included or not. With no option set the running
// kernel's is reused. kInvalidArgument when `replace` goes with another option, or the result holds
// a NUL or a newline.
absl::StatusOr<std::string> ComposeCommandLine(const CommandLineOptions& options,
                                               absl::string_view running);

}  // namespace vmm

#endif  // TOOLS_LUOCTL_COMMAND_LINE_H_
