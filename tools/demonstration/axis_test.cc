#include "tools/demonstration/axis.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmm::demonstration {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;
using testing::SizeIs;

TEST(AxisTest, TicksAreRound) {
  EXPECT_THAT(Ticks(-1000, 4000),
              ElementsAre(-1000, -500, 0, 500, 1000, 1500, 2000, 2500, 3000, 3500, 4000));
  EXPECT_THAT(Ticks(-1000, 15500), ElementsAre(0, 2000, 4000, 6000, 8000, 10000, 12000, 14000));
  EXPECT_THAT(Ticks(1, 9), ElementsAre(1, 2, 3, 4, 5, 6, 7, 8, 9));
}

TEST(AxisTest, NeverTooMany) {
  for (double length = 0.5; length < 1e7; length *= 1.7) {
    EXPECT_LE(Ticks(-1000, -1000 + length).size(), 11u) << length;
    EXPECT_GE(Ticks(-1000, -1000 + length).size(), 4u) << length;
  }
}

TEST(AxisTest, NoneInNoTime) {
  EXPECT_THAT(Ticks(5, 5), IsEmpty());
  EXPECT_THAT(Ticks(5, 4), IsEmpty());
}

TEST(AxisTest, LabelsAreInSeconds) {
  EXPECT_EQ(TickLabel(-1000), "-1 s");
  EXPECT_EQ(TickLabel(0), "0 s");
  EXPECT_EQ(TickLabel(500), "0.5 s");
  EXPECT_EQ(TickLabel(12000), "12 s");
}

}  // namespace
}  // namespace vmm::demonstration
