#include "tools/luoctl/command_line.h"

#include <gtest/gtest.h>

#include <string>

namespace vmm {
namespace {

TEST(CommandLineTest, ReusesTheRunningKernelsUnlessTold) {
  EXPECT_EQ(*ComposeCommandLine({}, "quiet liveupdate=on\n"), "quiet liveupdate=on");
  EXPECT_EQ(*ComposeCommandLine({.reuse = true, .append = "", .replace = ""}, "quiet\n"), "quiet");
}

TEST(CommandLineTest, AppendsAfterIt) {
  EXPECT_EQ(*ComposeCommandLine({.append = "a=1 b", .replace = ""}, "quiet\n"), "quiet a=1 b");
  EXPECT_EQ(*ComposeCommandLine({.reuse = true, .append = "a", .replace = ""}, "quiet"), "quiet a");
  EXPECT_EQ(*ComposeCommandLine({.append = "a", .replace = ""}, "\n"), "a");
}

TEST(CommandLineTest, AppendsBeforeWhatTheKernelDoesNotRead) {
  const auto appended = [](absl::string_view running) {
    return *ComposeCommandLine({.append = "a", .replace = ""}, running);
  };
  EXPECT_EQ(appended("quiet -- single\n"), "quiet a -- single");
  EXPECT_EQ(appended("-- single"), "a -- single");
  EXPECT_EQ(appended("quiet --"), "quiet a --");
  EXPECT_EQ(appended("x=\"1 -- 2\" -- single"), "x=\"1 -- 2\" a -- single");
  EXPECT_EQ(appended("x=-- --y z--"), "x=-- --y z-- a");
  EXPECT_EQ(appended("quiet \"--\" single"), "quiet a \"--\" single");
  EXPECT_EQ(*ComposeCommandLine({}, "quiet -- single"), "quiet -- single");
}

TEST(CommandLineTest, ReplacesIt) {
  EXPECT_EQ(*ComposeCommandLine({.append = "", .replace = "x y"}, "quiet\n"), "x y");
}

TEST(CommandLineTest, RefusesContradictionsAndSecondLines) {
  EXPECT_FALSE(ComposeCommandLine({.reuse = true, .append = "", .replace = "x"}, "q").ok());
  EXPECT_FALSE(ComposeCommandLine({.append = "a", .replace = "x"}, "q").ok());
  EXPECT_FALSE(ComposeCommandLine({.append = "", .replace = "x\ny"}, "q").ok());
  EXPECT_FALSE(ComposeCommandLine({.append = std::string("a\0b", 3), .replace = ""}, "q").ok());
}

}  // namespace
}  // namespace vmm
