// The words of a kernel's command line, split as Linux splits them (lib/cmdline.c, next_arg()).
//
//   absl::string_view rest = line;
//   for (KernelWord word = TakeKernelWord(rest); !word.text.empty(); word = TakeKernelWord(rest)) {
//     if (word.is_end()) break;  // what follows is init's
//     ...
//   }
#ifndef TOOLS_LIB_KERNEL_WORDS_H_
#define TOOLS_LIB_KERNEL_WORDS_H_

#include "absl/strings/string_view.h"

namespace vmm {

// Views of the line that it was taken from.
struct KernelWord {
  absl::string_view text;   // as it stands there, quotes included
  absl::string_view name;   // without quotes, up to its first `=`
  absl::string_view value;  // what is behind that, without quotes
  bool has_value = false;   // whether there is an `=`

  // Whether the kernel stops reading here: `--`, in quotes or not.
  bool is_end() const { return !has_value && name == "--"; }
};

// Takes the next word off `line`. A space inside quotes ends none. Its text is empty after the last
// one.
KernelWord TakeKernelWord(absl::string_view& line);

}  // namespace vmm

#endif  // TOOLS_LIB_KERNEL_WORDS_H_
