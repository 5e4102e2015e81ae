#include "base/tree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <libfdt.h>

#include <algorithm>
#include <string>
#include <vector>

namespace vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

Tree Sample() {
  Tree root;
  root.SetU32("version", 3);
  Tree& child = root.AddChild(Tree("serial@3f8"));
  child.SetString("compatible", "vmm,ns16550-v1");
  child.SetU64("base", 0x3f8);
  child.SetBytes("fifo", {1, 2, 3});
  child.SetFlag("enabled");
  return root;
}

TEST(TreeTest, RoundTripsEveryShape) {
  auto bytes = EncodeTree(Sample());
  ASSERT_TRUE(bytes.ok()) << bytes.status();
  auto tree = DecodeTree(*bytes);
  ASSERT_TRUE(tree.ok()) << tree.status();
  EXPECT_EQ(*tree->GetU32("version"), 3u);
  auto child = tree->Child("serial@3f8");
  ASSERT_TRUE(child.ok()) << child.status();
  EXPECT_EQ((*child)->base_name(), "serial");
  EXPECT_EQ(*(*child)->GetString("compatible"), "vmm,ns16550-v1");
  EXPECT_EQ(*(*child)->GetU64("base"), 0x3f8u);
  EXPECT_THAT(*(*child)->GetBytes("fifo"), ElementsAre(1, 2, 3));
  EXPECT_TRUE((*child)->Has("enabled"));
  EXPECT_EQ(tree->properties().size(), 1u);
}

TEST(TreeTest, NumbersAreBigEndianAsDeviceTreesHaveThem) {
  Tree node;
  node.SetU32("n", 0x01020304);
  EXPECT_THAT(*node.GetBytes("n"), ElementsAre(1, 2, 3, 4));
}

TEST(TreeTest, GettersSayWhatIsMissingOrMisshapen) {
  Tree root = Sample();
  EXPECT_EQ(root.GetU64("absent").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(root.GetU64("version").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(root.GetU64("version").status().message()), HasSubstr("version"));
  root.SetBytes("text", {'a', 0, 'b', 0});
  EXPECT_FALSE(root.GetString("text").ok());
  root.SetBytes("text", {'a'});
  EXPECT_FALSE(root.GetString("text").ok());
  EXPECT_EQ(root.Child("none").status().code(), absl::StatusCode::kNotFound);
}

TEST(TreeTest, RefusesNamesAndDepthsPastTheLimits) {
  Tree root;
  root.AddChild(Tree("a/b"));
  EXPECT_FALSE(EncodeTree(root).ok());

  Tree unnamed;
  unnamed.AddChild(Tree(""));
  EXPECT_FALSE(EncodeTree(unnamed).ok());

  Tree deep;
  Tree* at = &deep;
  for (int i = 0; i <= kMaxTreeDepth; ++i) at = &at->AddChild(Tree("n"));
  EXPECT_FALSE(EncodeTree(deep).ok());
}

TEST(TreeTest, RefusesAPropertyWithoutNameInBothDirections) {
  Tree root;
  root.SetU32("n", 1);
  std::vector<uint8_t> bytes = *EncodeTree(root);
  // The names lie last: an empty one in place of "n".
  bytes[bytes.size() - 2] = 0;
  EXPECT_FALSE(DecodeTree(bytes).ok());

  Tree unnamed;
  unnamed.SetU32("", 1);
  EXPECT_FALSE(EncodeTree(unnamed).ok());
}

TEST(TreeTest, RefusesMorePropertiesThanTheLimitInBothDirections) {
  Tree root;
  for (size_t i = 0; i < kMaxTreeProperties; ++i) root.SetFlag("p" + std::to_string(i));
  std::vector<uint8_t> fits = *EncodeTree(root);
  EXPECT_TRUE(DecodeTree(fits).ok());
  root.SetFlag("q");
  EXPECT_FALSE(EncodeTree(root).ok());

  std::vector<uint8_t> many(1 << 16);
  ASSERT_EQ(fdt_create(many.data(), many.size()), 0);
  ASSERT_EQ(fdt_finish_reservemap(many.data()), 0);
  ASSERT_EQ(fdt_begin_node(many.data(), ""), 0);
  for (const auto& property : root.properties()) {
    ASSERT_EQ(fdt_property(many.data(), property.first.c_str(), nullptr, 0), 0);
  }
  ASSERT_EQ(fdt_end_node(many.data()), 0);
  ASSERT_EQ(fdt_finish(many.data()), 0);
  many.resize(fdt_totalsize(many.data()));
  EXPECT_THAT(std::string(DecodeTree(many).status().message()), HasSubstr("too many properties"));
}

TEST(TreeTest, RefusesOtherVersionsOfTheFormat) {
  for (uint8_t version : {0, 1, 2, 3, 16, 18}) {
    std::vector<uint8_t> bytes = *EncodeTree(Sample());
    bytes[23] = version;  // The last byte of the header's `version`.
    for (uint8_t last_compatible : {0, 16}) {
      bytes[27] = last_compatible;
      EXPECT_FALSE(DecodeTree(bytes).ok()) << int{version};
    }
  }
}

TEST(TreeTest, RefusesALengthThatWrapsToItsOwnProperty) {
  Tree root;
  root.SetU32("n", 1);
  std::vector<uint8_t> bytes = *EncodeTree(root);
  // The property: FDT_PROP, length, name, value.
  const std::vector<uint8_t> property = {0, 0, 0, 3, 0, 0, 0, 4};
  auto at = std::search(bytes.begin(), bytes.end(), property.begin(), property.end());
  ASSERT_NE(at, bytes.end());
  // -12: back over the length and the name's offset, which are counted already, and over the tag.
  std::fill(at + 4, at + 7, 0xff);
  at[7] = 0xf4;
  EXPECT_THAT(std::string(DecodeTree(bytes).status().message()), HasSubstr("malformed tree"));
}

TEST(TreeTest, EveryTruncationIsRefused) {
  std::vector<uint8_t> bytes = *EncodeTree(Sample());
  for (size_t size = 0; size < bytes.size(); ++size) {
    EXPECT_FALSE(DecodeTree(absl::MakeConstSpan(bytes).subspan(0, size)).ok()) << size;
  }
}

TEST(TreeTest, NoFlippedByteCrashes) {
  const std::vector<uint8_t> bytes = *EncodeTree(Sample());
  for (size_t i = 0; i < bytes.size(); ++i) {
    for (int bit = 0; bit < 8; ++bit) {
      std::vector<uint8_t> bad = bytes;
      bad[i] ^= 1 << bit;
      auto tree = DecodeTree(bad);
      if (tree.ok()) {
        EXPECT_LE(tree->children().size(), 2u);
      }
    }
  }
}

}  // namespace
}  // namespace vmm
