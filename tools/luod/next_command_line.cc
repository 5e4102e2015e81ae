#include "tools/luod/next_command_line.h"

#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"

namespace vmm {
namespace {

// Takes the next word off `line`, which ends at a space outside quotes; empty after the last one.
absl::string_view TakeWord(absl::string_view& line) {
  line = absl::StripLeadingAsciiWhitespace(line);
  bool quoted = false;
  size_t end = 0;
  for (; end < line.size() && (quoted || !absl::ascii_isspace(line[end])); ++end) {
    if (line[end] == '"') quoted = !quoted;
  }
  absl::string_view word = line.substr(0, end);
  line.remove_prefix(end);
  return word;
}

// Without the quotes around it, of which the last may be missing.
absl::string_view Unquote(absl::string_view text) {
  if (text.empty() || text.front() != '"') return text;
  text.remove_prefix(1);
  if (!text.empty() && text.back() == '"') text.remove_suffix(1);
  return text;
}

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
  for (absl::string_view word = TakeWord(line); !word.empty(); word = TakeWord(line)) {
    word = Unquote(word);
    const size_t equals = word.find('=');
    if (equals == absl::string_view::npos) {
      if (word == "--") break;
      continue;
    }
    if (word.substr(0, equals) != name) continue;
    if (std::optional<bool> value = ReadBool(Unquote(word.substr(equals + 1)))) found = value;
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
