#include "tools/luod/next_command_line.h"

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "tools/lib/kernel_words.h"

namespace vmm {
namespace {

// As kstrtobool(): by the first letter, after an "o" by the second; nothing for any other word.
std::optional<bool> ReadBool(absl::string_view text) {
  const char first = text.empty() ? '\0' : absl::ascii_tolower(text[0]);
  const char second = text.size() < 2 ? '\0' : absl::ascii_tolower(text[1]);
  if (first == 'y' || first == 't' || first == '1' || (first == 'o' && second == 'n')) return true;
  if (first == 'n' || first == 'f' || first == '0' || (first == 'o' && second == 'f')) return false;
  return std::nullopt;
}

// What the last word that says it says; a word that the kernel cannot read changes nothing.
std::optional<bool> FindSwitch(absl::string_view line, absl::string_view name) {
  std::optional<bool> found;
  for (KernelWord word = TakeKernelWord(line); !word.text.empty() && !word.is_end();
       word = TakeKernelWord(line)) {
    if (!word.has_value || word.name != name) continue;
    if (std::optional<bool> value = ReadBool(word.value)) found = value;
  }
  return found;
}

absl::Status Refuse(absl::string_view name) {
  return absl::FailedPreconditionError(
      absl::StrCat("the next kernel would drop all guests: its command line needs ", name, "=on"));
}

}  // namespace

absl::Status CheckNextCommandLine(absl::string_view next, absl::string_view running) {
  if (!FindSwitch(next, "liveupdate").value_or(false)) return Refuse("liveupdate");
  const bool told = FindSwitch(running, "kho").has_value();
  if (!FindSwitch(next, "kho").value_or(!told)) return Refuse("kho");
  return absl::OkStatus();
}

}  // namespace vmm
