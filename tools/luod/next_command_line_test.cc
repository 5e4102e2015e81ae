#include "tools/luod/next_command_line.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace vmm {
namespace {

constexpr char kRunning[] = "console=ttyS0 kho=on liveupdate=on\n";

std::string Why(absl::string_view next, absl::string_view running = kRunning) {
  return std::string(CheckNextCommandLine(next, running).message());
}

TEST(NextCommandLineTest, TheRunningKernelsWillDo) { EXPECT_EQ(Why(kRunning), ""); }

TEST(NextCommandLineTest, LiveUpdateHasToBeSwitchedOn) {
  for (const char* next :
       {"", "kho=on", "kho=on liveupdate", "kho=on liveupdate=", "xliveupdate=on kho=on",
        "kho=on liveupdate=off", "liveupdate=on kho=on liveupdate=0", "kho=on -- liveupdate=on",
        "kho=on x=\"a liveupdate=on b\""}) {
    EXPECT_THAT(Why(next), testing::HasSubstr("needs liveupdate=on")) << next;
  }
}

TEST(NextCommandLineTest, KhoMayNotBeSwitchedOff) {
  EXPECT_THAT(Why("liveupdate=on kho=off"), testing::HasSubstr("needs kho=on"));
  EXPECT_THAT(Why("liveupdate=on kho=off", "liveupdate=on"), testing::HasSubstr("needs kho=on"));
  EXPECT_THAT(Why("liveupdate=on"), testing::HasSubstr("needs kho=on"));
  // A kernel that has it on by default.
  EXPECT_EQ(Why("liveupdate=on", "liveupdate=on"), "");
}

TEST(NextCommandLineTest, WordsAreReadAsTheKernelReadsThem) {
  for (const char* next : {"kho=1 liveupdate=Y", "kho=true liveupdate=yes", "kho=On liveupdate=ON",
                           "liveupdate=off kho=on liveupdate=on", "\"kho=on\" liveupdate=\"on\"",
                           "kho=on\tliveupdate=on\"", "kho=on liveupdate=on liveupdate=what",
                           "kho=on liveupdate=on -- liveupdate=off"}) {
    EXPECT_EQ(Why(next), "") << next;
  }
}

}  // namespace
}  // namespace vmm
