#include "tools/demonstration/guest_console.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmm::demonstration {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(GuestConsoleTest, TakesTheWorkloadsLinesOutOfAKernels) {
  GuestConsole console = ParseGuestConsole(
      "[    0.5] tsc: HB n=1 tsc=1\r\n"
      "WORKLOAD ready cpus=2 pages=12000 seed=1 boot_complaints=0\r\n"
      "HB n=1 mono=1.5 tsc=1000 maxgap_ms=1.5 tscgap_ms=1.25 errors=0\r\n"
      "HB n=2 mono=2.5 tsc=2000 maxgap_ms=2500.125 tscgap_ms=2499.5 errors=0\n"
      "VERIFY ok words=512\r\n"
      "FPU ok checks=7 errors=0\r\n"
      "STATUS n=2 tsc=2100 maxgap_ms=2500.125 errors=0\r\n");
  ASSERT_EQ(console.heartbeats.size(), 2u);
  EXPECT_EQ(console.heartbeats[0].tsc, 1000u);
  EXPECT_EQ(console.heartbeats[1].monotonic_gap_ms, 2500.125);
  EXPECT_EQ(console.heartbeats[1].tsc_gap_ms, 2499.5);
  EXPECT_EQ(console.ready, "WORKLOAD ready cpus=2 pages=12000 seed=1 boot_complaints=0");
  EXPECT_EQ(console.verify, "VERIFY ok words=512");
  EXPECT_EQ(console.fpu, "FPU ok checks=7 errors=0");
  EXPECT_EQ(NumberField(console.status, "maxgap_ms"), 2500.125);
  EXPECT_THAT(console.complaints, IsEmpty());
}

TEST(GuestConsoleTest, KeepsComplaints) {
  GuestConsole console = ParseGuestConsole(
      "COMPLAINT watchdog: BUG: soft lockup\r\nMEMORY-ERROR cpu=0 index=5 expected=1 found=2\r\n");
  EXPECT_THAT(console.complaints, ElementsAre("COMPLAINT watchdog: BUG: soft lockup",
                                              "MEMORY-ERROR cpu=0 index=5 expected=1 found=2"));
}

TEST(GuestConsoleTest, IgnoresHeartbeatsThatAreCutShort) {
  EXPECT_THAT(ParseGuestConsole("HB n=1 mono=1\nHB n=2 tsc=\nHB n=3 tsc=-5\nHB").heartbeats,
              IsEmpty());
}

TEST(GuestConsoleTest, NothingOfNothing) {
  GuestConsole console = ParseGuestConsole("");
  EXPECT_EQ(console.ready, "");
  EXPECT_EQ(console.verify, "");
  EXPECT_THAT(console.heartbeats, IsEmpty());
}

TEST(FieldTest, MatchesWholeNames) {
  EXPECT_EQ(Field("STATUS fpu_errors=3 errors=4", "errors"), "4");
  EXPECT_EQ(Field("STATUS errors_=3", "errors"), "");
  EXPECT_EQ(NumberField("STATUS errors=none", "errors"), 0);
}

}  // namespace
}  // namespace vmm::demonstration
