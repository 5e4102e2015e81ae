#include "tools/lib/kernel_words.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace vmm {
namespace {

// "name=value", "name" without one, each between angle brackets.
std::vector<std::string> Words(absl::string_view line) {
  std::vector<std::string> words;
  for (KernelWord word = TakeKernelWord(line); !word.text.empty(); word = TakeKernelWord(line)) {
    std::string text = "<" + std::string(word.name) + ">";
    if (word.has_value) text += "=<" + std::string(word.value) + ">";
    words.push_back(text);
  }
  return words;
}

TEST(KernelWordsTest, SplitsAtSpacesOutsideQuotes) {
  EXPECT_THAT(Words(""), testing::IsEmpty());
  EXPECT_THAT(Words(" \t\n"), testing::IsEmpty());
  EXPECT_THAT(Words("quiet\tkho=on\n"), testing::ElementsAre("<quiet>", "<kho>=<on>"));
  EXPECT_THAT(Words("x=\"a b\" y"), testing::ElementsAre("<x>=<a b>", "<y>"));
  EXPECT_THAT(Words("\"x=a b\" y"), testing::ElementsAre("<x>=<a b>", "<y>"));
  EXPECT_THAT(Words("x=\"a b"), testing::ElementsAre("<x>=<a b>"));
}

TEST(KernelWordsTest, SplitsNameAndValueAtTheFirstEqualsSign) {
  EXPECT_THAT(Words("a=b=c d= =e ="),
              testing::ElementsAre("<a>=<b=c>", "<d>=<>", "<>=<e>", "<>=<>"));
}

TEST(KernelWordsTest, TextIsWhatStandsInTheLine) {
  const absl::string_view line = "  x=\"a b\" y";
  absl::string_view rest = line;
  const KernelWord word = TakeKernelWord(rest);
  EXPECT_EQ(word.text, "x=\"a b\"");
  EXPECT_EQ(word.text.data(), line.data() + 2);
  EXPECT_EQ(rest, " y");
}

TEST(KernelWordsTest, EndsAtTwoDashes) {
  const auto is_end = [](absl::string_view line) { return TakeKernelWord(line).is_end(); };
  EXPECT_TRUE(is_end("--"));
  EXPECT_TRUE(is_end("-- single"));
  // The kernel takes quotes off before it looks.
  EXPECT_TRUE(is_end("\"--\""));
  for (const char* line : {"", "-", "---", "--x", "--=", "x=--", "\"-- x\""}) {
    EXPECT_FALSE(is_end(line)) << line;
  }
}

}  // namespace
}  // namespace vmm
