#include "tools/demonstration/svg.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "absl/strings/str_split.h"
#include "tools/demonstration/sample.h"

namespace vmm::demonstration {
namespace {

using testing::HasSubstr;
using testing::Not;

std::string Draw(const Findings& findings) { return Svg(findings, *findings.timeline); }

size_t Count(const std::string& text, const std::string& part) {
  return std::vector<std::string>(absl::StrSplit(text, part)).size() - 1;
}

TEST(SvgTest, ShowsEveryPhaseAndHeartbeat) {
  std::string svg = Draw(SampleFindings());
  for (const char* name : {"check", "prepare", "freeze", "kexec", "retrieve", "resume"}) {
    EXPECT_THAT(svg, HasSubstr(std::string(">") + name + "</text>"));
  }
  EXPECT_THAT(svg, HasSubstr(">blackout 2,253 ms</text>"));
  EXPECT_THAT(svg, HasSubstr(">1,800 ms</text>"));
  EXPECT_EQ(Count(svg, "<circle"), 6u + 1u);  // and the legend's
}

TEST(SvgTest, IsOneWholeElement) {
  std::string svg = Draw(SampleFindings());
  EXPECT_THAT(svg, testing::StartsWith("<svg xmlns=\"http://www.w3.org/2000/svg\""));
  EXPECT_THAT(svg, testing::EndsWith("</svg>\n"));
  EXPECT_EQ(Count(svg, "<text"), Count(svg, "</text>"));
  EXPECT_THAT(svg, Not(testing::AnyOf(HasSubstr("nan"), HasSubstr("inf"))));
}

TEST(SvgTest, SaysWhyItFailedInHarmlessCharacters) {
  Findings findings = SampleFindings();
  findings.failures = {"the guest said: <b>\"1\" & \x1b[31m\xff"};
  std::string svg = Draw(findings);
  EXPECT_THAT(svg, HasSubstr("the guest said: &lt;b&gt;&quot;1&quot; &amp; ?[31m?</text>"));
  EXPECT_THAT(svg, HasSubstr("title failed"));
}

TEST(SvgTest, EscapesXml) {
  EXPECT_EQ(EscapeXml("a<b>&\"c\"'d'"), "a&lt;b&gt;&amp;&quot;c&quot;&apos;d&apos;");
  EXPECT_EQ(EscapeXml(std::string("a\0b\n", 4)), "a?b?");
}

}  // namespace
}  // namespace vmm::demonstration
