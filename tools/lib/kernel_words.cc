#include "tools/lib/kernel_words.h"

#include <stddef.h>

#include "absl/strings/ascii.h"

namespace vmm {
namespace {

// Without the quotes around it, of which the last may be missing.
absl::string_view Unquote(absl::string_view text) {
  if (text.empty() || text.front() != '"') return text;
  text.remove_prefix(1);
  if (!text.empty() && text.back() == '"') text.remove_suffix(1);
  return text;
}

}  // namespace

KernelWord TakeKernelWord(absl::string_view& line) {
  line = absl::StripLeadingAsciiWhitespace(line);
  bool quoted = false;
  size_t end = 0;
  for (; end < line.size() && (quoted || !absl::ascii_isspace(line[end])); ++end) {
    if (line[end] == '"') quoted = !quoted;
  }
  KernelWord word = {.text = line.substr(0, end)};
  line.remove_prefix(end);
  word.name = Unquote(word.text);
  if (const size_t equals = word.name.find('='); equals != absl::string_view::npos) {
    word.has_value = true;
    word.value = Unquote(word.name.substr(equals + 1));
    word.name = word.name.substr(0, equals);
  }
  return word;
}

}  // namespace vmm
