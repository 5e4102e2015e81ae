#include "tools/demonstration/text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"
#include "tools/demonstration/sample.h"

namespace vmm::demonstration {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string LineWith(const std::string& text, absl::string_view start) {
  for (absl::string_view line : absl::StrSplit(text, '\n')) {
    if (absl::StartsWith(absl::StripLeadingAsciiWhitespace(line), start)) return std::string(line);
  }
  return "";
}

TEST(TextTest, ALineAPhase) {
  std::string text = Text(SampleFindings());
  EXPECT_THAT(text, HasSubstr("The guest survived"));
  EXPECT_THAT(LineWith(text, "check "), HasSubstr(" 200 ms"));
  EXPECT_THAT(LineWith(text, "check "), HasSubstr("▒▒"));
  EXPECT_THAT(LineWith(text, "kexec "), HasSubstr("2,000 ms"));
  EXPECT_THAT(LineWith(text, "kexec "), HasSubstr("██████████"));
  EXPECT_THAT(LineWith(text, "kexec "), Not(HasSubstr("▒")));
  EXPECT_THAT(LineWith(text, "bare kexec "), HasSubstr("1,800 ms"));
  EXPECT_THAT(LineWith(text, "guest "), HasSubstr("•"));
  EXPECT_THAT(LineWith(text, "RAM copied "), HasSubstr("0 bytes"));
}

TEST(TextTest, ShortPhasesAreShown) {
  Findings findings = SampleFindings();
  for (Phase& phase : findings.timeline->phases) phase.end_ms = phase.start_ms + 0.001;
  std::string text = Text(findings);
  EXPECT_THAT(LineWith(text, "prepare "), HasSubstr("▒"));
  EXPECT_THAT(LineWith(text, "resume "), HasSubstr("█"));
}

TEST(TextTest, FitsATerminal) {
  for (absl::string_view line : absl::StrSplit(Text(SampleFindings()), '\n')) {
    // UTF-8: a character is what is not a continuation byte.
    int columns = 0;
    for (char c : line) columns += (c & 0xc0) != 0x80;
    EXPECT_LE(columns, 100) << line;
    EXPECT_FALSE(absl::EndsWith(line, " ")) << "'" << line << "'";
  }
}

TEST(TextTest, SaysWhyItFailed) {
  Findings findings;
  findings.failures = {"web1 printed no line", "no evidence: frames"};
  EXPECT_EQ(Text(findings),
            "The demonstration failed\n  - web1 printed no line\n  - no evidence: frames\n");
}

}  // namespace
}  // namespace vmm::demonstration
