#include "tools/luoctl/inspect.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "luo_kernel/inspect/test_handover.h"
#include "tools/luoctl/commands.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;

class InspectTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    image_ = folder_ + "/vmcore";
    const std::vector<uint8_t> bytes = luo::TestHandover().AsElfCore();
    std::ofstream(image_).write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }

  // What it prints on stdout.
  static std::string Show(const InspectOptions& options, int expected_code = kDone) {
    ::testing::internal::CaptureStdout();
    EXPECT_EQ(RunInspect(options), expected_code);
    return ::testing::internal::GetCapturedStdout();
  }

  std::string folder_ = ::testing::TempDir() + "/inspectXXXXXX";
  std::string image_;
};

TEST_F(InspectTest, ShowsAnImageForPeople) {
  const std::string text = Show({.image = image_});
  EXPECT_THAT(text, HasSubstr("Linux 7.3.test"));
  EXPECT_THAT(text, HasSubstr("3 sessions, 4 files, 1 FLB\n"));
}

TEST_F(InspectTest, ShowsAnImageForProgramsAndSavesContents) {
  const auto json =
      nlohmann::json::parse(Show({.image = image_, .extract = folder_ + "/out", .json = true}));
  const auto& file = json["handovers"][0]["luo"]["sessions"][0]["files"][0];
  std::ifstream saved(file["extracted"].get<std::string>());
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(saved), {}), luo::TestContents());
}

TEST_F(InspectTest, TheAddressCanBeGiven) {
  const auto found = nlohmann::json::parse(Show({.image = image_, .json = true}));
  const std::string address = found["handovers"][0]["address"];
  const auto json = nlohmann::json::parse(Show({.image = image_, .fdt = address, .json = true}));
  EXPECT_EQ(json["handovers"][0]["origin"], "address given");
  EXPECT_EQ(json["handovers"][0]["luo"], found["handovers"][0]["luo"]);
  EXPECT_THAT(Show({.image = image_, .fdt = "0x1001000"}), HasSubstr("no device tree"));
}

TEST_F(InspectTest, SalvagesWhenAsked) {
  const auto json = nlohmann::json::parse(Show({.image = image_, .salvage = true, .json = true}));
  ASSERT_EQ(json["handovers"].size(), 2u);
  EXPECT_EQ(json["handovers"][1]["origin"], "salvaged");
  EXPECT_EQ(json["handovers"][1]["luo"]["sessions"].size(), 3u);
}

TEST_F(InspectTest, WhatCannotBeReadFails) {
  Show({.image = folder_ + "/none"}, kFailed);
  Show({.image = "/proc/self/exe"}, kFailed);
  Show({.image = image_, .fdt = "here"}, kFailed);
  Show({.image = image_, .extract = "/nonexistent/folder"}, kFailed);
  Show({.hosted = folder_ + "/none"}, kFailed);
}

}  // namespace
}  // namespace vmm
