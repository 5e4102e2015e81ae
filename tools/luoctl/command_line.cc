#include "tools/luoctl/command_line.h"

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "tools/lib/kernel_words.h"

namespace vmm {
namespace {

// Where the word "--" is, with which the kernel stops reading; the line's length without one.
size_t StartOfInitsWords(absl::string_view line) {
  absl::string_view rest = line;
  for (KernelWord word = TakeKernelWord(rest); !word.text.empty(); word = TakeKernelWord(rest)) {
    if (word.is_end()) return word.text.data() - line.data();
  }
  return line.size();
}

}  // namespace

absl::StatusOr<std::string> ComposeCommandLine(const CommandLineOptions& options,
                                               absl::string_view running) {
  if (!options.replace.empty() && (options.reuse || !options.append.empty())) {
    return absl::InvalidArgumentError(
        "--command-line replaces the running kernel's: it does not go with --reuse-cmdline or "
        "--append");
  }
  std::string line = options.replace;
  if (line.empty()) {
    absl::string_view kernels = absl::StripTrailingAsciiWhitespace(running);
    const absl::string_view inits = kernels.substr(StartOfInitsWords(kernels));
    kernels.remove_suffix(inits.size());
    kernels = absl::StripTrailingAsciiWhitespace(kernels);
    for (absl::string_view part : {kernels, absl::string_view(options.append), inits}) {
      if (!part.empty()) absl::StrAppend(&line, line.empty() ? "" : " ", part);
    }
  }
  if (line.find_first_of("\0\n", 0, 2) != std::string::npos) {
    return absl::InvalidArgumentError("a kernel command line is one line");
  }
  return line;
}

}  // namespace vmm
