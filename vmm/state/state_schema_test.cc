#include "vmm/state/state_schema.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

TEST(StateSchemaTest, AcceptsThisSchemaOnly) {
  Tree root;
  EXPECT_EQ(CheckSchema(root).code(), absl::StatusCode::kInvalidArgument);
  root.SetU32("compatible", 1);
  EXPECT_EQ(CheckSchema(root).code(), absl::StatusCode::kInvalidArgument);
  root.SetString("compatible", "vmm,machine-v2");
  EXPECT_EQ(CheckSchema(root).code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(CheckSchema(root).message()), HasSubstr("vmm,machine-v2"));
  root.SetString("compatible", kMachineCompatible);
  EXPECT_TRUE(CheckSchema(root).ok());
}

class KnownNodesTest : public ::testing::Test {
 protected:
  absl::Status Check() {
    return CheckKnownNodes(root_, {"vcpu", "clock"},
                           [this](absl::string_view name) { skipped_.emplace_back(name); });
  }

  Tree root_;
  std::vector<std::string> skipped_;
};

TEST_F(KnownNodesTest, KnowsNodesByTheirBaseName) {
  root_.AddChild(Tree("vcpu@0"));
  root_.AddChild(Tree("vcpu@1"));
  root_.AddChild(Tree("clock"));
  EXPECT_TRUE(Check().ok());
  EXPECT_THAT(skipped_, IsEmpty());
}

TEST_F(KnownNodesTest, RefusesAnUnknownNode) {
  root_.AddChild(Tree("vcpus"));
  EXPECT_EQ(Check().code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(std::string(Check().message()), HasSubstr("\"vcpus\""));
}

TEST_F(KnownNodesTest, SkipsAnUnknownOptionalNodeAndSaysSo) {
  root_.AddChild(Tree("statistics@7")).SetFlag("optional");
  root_.AddChild(Tree("clock"));
  EXPECT_TRUE(Check().ok());
  EXPECT_THAT(skipped_, ElementsAre("statistics@7"));
}

TEST_F(KnownNodesTest, OptionalNodesDoNotHideAMandatoryOne) {
  root_.AddChild(Tree("statistics")).SetFlag("optional");
  root_.AddChild(Tree("tpm"));
  EXPECT_FALSE(Check().ok());
}

}  // namespace
}  // namespace vmm
