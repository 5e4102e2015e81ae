#include "devices/console/escape_filter.h"

#include <gtest/gtest.h>

#include <string>

namespace vmm {
namespace {

class EscapeFilterTest : public ::testing::Test {
 protected:
  bool Type(const std::string& text) {
    return filter_.Filter({reinterpret_cast<const uint8_t*>(text.data()), text.size()}, &out_);
  }
  std::string out() const { return std::string(out_.begin(), out_.end()); }

  EscapeFilter filter_;
  std::vector<uint8_t> out_;
};

TEST_F(EscapeFilterTest, PassesWhatIsTyped) {
  EXPECT_FALSE(Type("ax\x03\x1a\xff"));
  EXPECT_EQ(out(), "ax\x03\x1a\xff");
}

TEST_F(EscapeFilterTest, QuitsAndDropsTheRest) {
  EXPECT_TRUE(Type("ls\x01x\n"));
  EXPECT_EQ(out(), "ls");
}

TEST_F(EscapeFilterTest, QuitsWhenTheCommandIsCut) {
  EXPECT_FALSE(Type("\x01"));
  EXPECT_TRUE(Type("x"));
  EXPECT_EQ(out(), "");
}

TEST_F(EscapeFilterTest, SendsALiteralEscape) {
  EXPECT_FALSE(
      Type("\x01"
           "a"
           "\x01\x01"
           "x"));
  EXPECT_EQ(out(), "\x01\x01x");
}

TEST_F(EscapeFilterTest, SwallowsUnknownCommands) {
  EXPECT_FALSE(Type("\x01zx"));
  EXPECT_EQ(out(), "x");
}

}  // namespace
}  // namespace vmm
