#include "tests/support/guest/kernel_log.h"

#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace vmm::guest {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;

TEST(KernelLogTest, OrdinaryLinesAreNoComplaints) {
  EXPECT_THAT(KernelComplaints("[    0.000000] Linux version 6.1.0\n"
                               "[    0.010000] rcu: Hierarchical RCU implementation.\n"
                               "[    0.020000] clocksource: tsc: mask: 0xffffffffffffffff\n"
                               "[    0.030000] stall-free rcu\n"
                               "[    0.040000] SRSO: WARNING: See https://kernel.org/srso.html\n"),
              IsEmpty());
  EXPECT_THAT(KernelComplaints(""), IsEmpty());
}

TEST(KernelLogTest, FindsWhatAnUpdateMustNotCause) {
  const std::string lockup =
      "[ 9.0] watchdog: BUG: soft lockup - CPU#1 stuck for 22s! [workload:1]";
  const std::string stall = "[ 9.1] rcu: INFO: rcu_preempt self-detected stall on CPU";
  const std::string warning = "[ 9.2] WARNING: CPU: 0 PID: 1 at kernel/time/timekeeping.c:1";
  const std::string clock =
      "[ 9.2] clocksource: timekeeping watchdog on CPU0: Marking clocksource 'tsc' as unstable "
      "because of the skew";
  const std::string tsc = "[ 9.3] tsc: Marking TSC unstable due to clocksource watchdog";
  EXPECT_THAT(
      KernelComplaints(lockup + "\nfine\n\n" + stall + "\n" + warning + "\n" + clock + "\n" + tsc),
      ElementsAre(lockup, stall, warning, clock, tsc));
}

}  // namespace
}  // namespace vmm::guest
