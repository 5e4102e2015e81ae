#include "tests/support/guest/options.h"

#include "gtest/gtest.h"

namespace vmm::guest {
namespace {

TEST(OptionsTest, DefaultsStandWithoutWords) {
  Options options;
  std::string error;
  EXPECT_TRUE(ParseOptions("console=ttyS0 quiet\n", options, error));
  EXPECT_EQ(options.memory_percent, 50u);
  EXPECT_TRUE(ParseOptions("", options, error));
}

TEST(OptionsTest, ReadsAmongOtherWords) {
  Options options;
  std::string error;
  EXPECT_TRUE(
      ParseOptions("quiet workload.seed=77  workload.rest_us=0 xworkload.seed=1", options, error));
  EXPECT_EQ(options.seed, 77u);
  EXPECT_EQ(options.rest_us, 0u);
}

TEST(OptionsTest, RefusesWhatItDoesNotKnow) {
  for (const char* word : {"workload.nothing=1", "workload.seed", "workload.seed=",
                           "workload.seed=-1", "workload.seed=1x", "workload.memory_percent=91",
                           "workload.memory_percent=0", "workload.sample_us=0", "workload.=1"}) {
    Options options;
    std::string error;
    EXPECT_FALSE(ParseOptions(std::string("quiet ") + word + " ro", options, error)) << word;
    EXPECT_EQ(error, word);
  }
}

}  // namespace
}  // namespace vmm::guest
