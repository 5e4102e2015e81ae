#include "devices/saved_state.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace vmm {
namespace {

using ::testing::HasSubstr;

TEST(CheckCompatibleTest, AcceptsOnlyTheVeryVersion) {
  Tree state("serial");
  EXPECT_EQ(CheckCompatible(state, "vmm,a-v1").code(), absl::StatusCode::kNotFound);
  state.SetString("compatible", "vmm,a-v1");
  EXPECT_TRUE(CheckCompatible(state, "vmm,a-v1").ok());
  absl::Status status = CheckCompatible(state, "vmm,a-v2");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"vmm,a-v1\", not \"vmm,a-v2\""));
}

TEST(GetRegisterTest, RefusesBitsThatAreNotImplemented) {
  Tree state("serial");
  EXPECT_EQ(GetRegister(state, "ier", 0xf).status().code(), absl::StatusCode::kNotFound);
  state.SetU32("ier", 0xf);
  EXPECT_EQ(*GetRegister(state, "ier", 0xf), 0xfu);
  state.SetU32("ier", 0x1f);
  absl::Status status = GetRegister(state, "ier", 0xf).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("ier"));
}

}  // namespace
}  // namespace vmm
