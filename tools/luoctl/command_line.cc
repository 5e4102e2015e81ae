#include "tools/luoctl/command_line.h"

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace vmm {

absl::StatusOr<std::string> ComposeCommandLine(const CommandLineOptions& options,
                                               absl::string_view running) {
  if (!options.replace.empty() && (options.reuse || !options.append.empty())) {
    return absl::InvalidArgumentError(
        "--command-line replaces the running kernel's: it does not go with --reuse-cmdline or "
        "--append");
  }
  std::string line = options.replace;
  if (line.empty()) line = std::string(absl::StripTrailingAsciiWhitespace(running));
  if (!options.append.empty()) absl::StrAppend(&line, line.empty() ? "" : " ", options.append);
  if (line.find_first_of("\0\n", 0, 2) != std::string::npos) {
    return absl::InvalidArgumentError("a kernel command line is one line");
  }
  return line;
}

}  // namespace vmm
