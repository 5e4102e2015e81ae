#include "tools/demonstration/frames.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmm::demonstration {
namespace {

using testing::ElementsAre;

TEST(FramesTest, ReadsRunsOfSeveralMemfds) {
  absl::StatusOr<FrameMap> map =
      ParseFrameMap("16777216 0 a0 2\n16777216 2 b0 1\n33554432 0 ff 2\npages 5 huge 2\n");
  ASSERT_TRUE(map.ok()) << map.status();
  EXPECT_THAT(map->pfns, ElementsAre(0xa0, 0xa1, 0xb0, 0xff, 0x100));
  EXPECT_EQ(map->huge_pages, 2u);
}

TEST(FramesTest, RefusesWhatIsNoWholeMap) {
  for (const char* text :
       {"", "1 0 a0 2\n", "1 0 a0 2\npages 3 huge 0\n", "1 0 a0 2\npages 2 huge 3\n",
        "1 0 a0 2\n1 3 b0 1\npages 3 huge 0\n", "1 0 0 2\npages 2 huge 0\n",
        "1 0 a0\npages 1 huge 0\n", "1 0 zz 2\npages 2 huge 0\n",
        "1 0 a0 99999999999999\npages 1 huge 0\n", "1 0 a0 -1\n"}) {
    EXPECT_EQ(ParseFrameMap(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(FramesTest, CountsPagesThatMoved) {
  FrameMap before = {.pfns = {1, 2, 3}};
  EXPECT_EQ(*MovedPages(before, {.pfns = {1, 2, 3}}), 0u);
  EXPECT_EQ(*MovedPages(before, {.pfns = {1, 3, 2}}), 2u);
  EXPECT_FALSE(MovedPages(before, {.pfns = {1, 2}}).ok());
}

}  // namespace
}  // namespace vmm::demonstration
