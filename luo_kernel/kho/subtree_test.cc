#include "luo_kernel/kho/subtree.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <functional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/tree.h"
#include "luo_kernel/kho/test_machine.h"

namespace luo {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class SubtreeTest : public ::testing::Test {
 protected:
  absl::StatusOr<HandoverRoot> Read() {
    return ReadHandoverRoot(machine_.memory(), root_, abi::kKhoRootSize);
  }
  // Reads what some other writer made.
  absl::StatusOr<HandoverRoot> ReadTree(const vmm::Tree& tree) {
    const std::vector<uint8_t> bytes = vmm::EncodeTree(tree).value();
    memcpy(machine_.memory().Write(root_, abi::kKhoRootSize)->data(), bytes.data(), bytes.size());
    return Read();
  }
  static vmm::Tree GoodTree() {
    vmm::Tree tree;
    tree.SetString("compatible", "kho-v4");
    tree.SetStruct<uint64_t>("preserved-memory-map", 0x1000);
    return tree;
  }
  static vmm::Tree Node(absl::string_view name, uint64_t address, uint64_t size) {
    vmm::Tree node(name);
    node.SetStruct("preserved-data", address);
    node.SetStruct("blob-size", size);
    return node;
  }

  TestMachine machine_;
  const PhysicalAddress root_ = machine_.Page();
  const PhysicalAddress blob_ = machine_.Page();
};

TEST_F(SubtreeTest, ARootIsTheTreeThatLinuxWrites) {
  ASSERT_TRUE(WriteHandoverRoot(machine_.memory(), root_, PhysicalAddress(0x123456789000)).ok());
  const auto page = machine_.memory().Read(root_, abi::kKhoRootSize).value();
  const vmm::Tree tree =
      vmm::DecodeTree(absl::MakeSpan(reinterpret_cast<const uint8_t*>(page.data()), page.size()))
          .value();
  EXPECT_EQ(tree.GetString("compatible").value(), "kho-v4");
  // Little-endian, against the habit of device trees.
  EXPECT_THAT(tree.GetBytes("preserved-memory-map").value(),
              ::testing::ElementsAre(0, 0x90, 0x78, 0x56, 0x34, 0x12, 0, 0));
  EXPECT_EQ(Read()->memory_map, PhysicalAddress(0x123456789000));
  EXPECT_THAT(Read()->subtrees, IsEmpty());
}

TEST_F(SubtreeTest, SubtreesComeAndGo) {
  ASSERT_TRUE(WriteHandoverRoot(machine_.memory(), root_, PhysicalAddress(0x1000)).ok());
  ASSERT_TRUE(AddSubtree(machine_.memory(), root_, {"LUO", blob_, 32}).ok());
  ASSERT_TRUE(AddSubtree(machine_.memory(), root_, {"kexec-metadata", root_, 73}).ok());
  EXPECT_EQ(AddSubtree(machine_.memory(), root_, {"LUO", root_, 1}).code(),
            absl::StatusCode::kAlreadyExists);
  // As Linux does, by libfdt: the latest first.
  EXPECT_THAT(Read()->subtrees, ::testing::ElementsAre(Subtree{"kexec-metadata", root_, 73},
                                                       Subtree{"LUO", blob_, 32}));
  EXPECT_TRUE(RemoveSubtree(machine_.memory(), root_, root_).ok());
  EXPECT_EQ(RemoveSubtree(machine_.memory(), root_, root_).code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(Read()->subtrees, ::testing::ElementsAre(Subtree{"LUO", blob_, 32}));
}

TEST_F(SubtreeTest, UnitAddressesAreNotMistakenForTheNameAlone) {
  ASSERT_TRUE(WriteHandoverRoot(machine_.memory(), root_, PhysicalAddress(0x1000)).ok());
  ASSERT_TRUE(AddSubtree(machine_.memory(), root_, {"LUO", blob_, 32}).ok());
  ASSERT_TRUE(AddSubtree(machine_.memory(), root_, {"LUO@1", root_, 16}).ok());
  EXPECT_TRUE(RemoveSubtree(machine_.memory(), root_, blob_).ok());
  EXPECT_THAT(Read()->subtrees, ::testing::ElementsAre(Subtree{"LUO@1", root_, 16}));
}

TEST_F(SubtreeTest, ThePageHasAnEndAndAddingPastItChangesNothing) {
  ASSERT_TRUE(WriteHandoverRoot(machine_.memory(), root_, PhysicalAddress(0x1000)).ok());
  size_t added = 0;
  absl::Status status;
  while (status.ok() && added < 1000) {
    status = AddSubtree(machine_.memory(), root_, {absl::StrCat("subtree-", added), blob_, 8});
    if (status.ok()) ++added;
  }
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_GT(added, 50u);
  EXPECT_EQ(Read()->subtrees.size(), added);
  // And room that comes free can be had again.
  EXPECT_TRUE(RemoveSubtree(machine_.memory(), root_, blob_).ok());
  EXPECT_TRUE(AddSubtree(machine_.memory(), root_, {"subtree-x", blob_, 8}).ok());
}

TEST_F(SubtreeTest, NamesAreThoseOfNodes) {
  ASSERT_TRUE(WriteHandoverRoot(machine_.memory(), root_, PhysicalAddress(0x1000)).ok());
  for (const std::string& name :
       {std::string(), std::string("a/b"), std::string("a b"), std::string("a\0b", 3),
        std::string(64, 'x'), std::string("\x80")}) {
    EXPECT_EQ(AddSubtree(machine_.memory(), root_, {name, blob_, 8}).code(),
              absl::StatusCode::kInvalidArgument)
        << name;
  }
  EXPECT_TRUE(AddSubtree(machine_.memory(), root_, {std::string(63, 'x'), blob_, 8}).ok());
  EXPECT_EQ(Read()->subtrees.size(), 1u);
}

TEST_F(SubtreeTest, OtherVersionsAreToldFromGarbage) {
  vmm::Tree tree = GoodTree();
  EXPECT_TRUE(ReadTree(tree).ok());
  tree.SetString("compatible", "kho-v3");
  EXPECT_EQ(ReadTree(tree).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(ReadTree(tree).status().message()), HasSubstr("kho-v3"));
  tree.SetString("compatible", "kho-v4x");
  EXPECT_EQ(ReadTree(tree).status().code(), absl::StatusCode::kFailedPrecondition);
  // A list of strings, one of which is ours, as device trees may have it.
  const std::string list("kho-v5\0kho-v4", 14);
  tree.SetBytes("compatible",
                absl::MakeSpan(reinterpret_cast<const uint8_t*>(list.data()), list.size()));
  EXPECT_TRUE(ReadTree(tree).ok());
  tree.SetBytes("compatible", {'k', 'h', 'o', '-', 'v', '4'});  // no NUL
  EXPECT_EQ(ReadTree(tree).status().code(), absl::StatusCode::kDataLoss);
  tree.SetBytes("compatible", {});
  EXPECT_EQ(ReadTree(tree).status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(SubtreeTest, AMalformedRootIsRefused) {
  const std::vector<std::function<void(vmm::Tree&)>> changes = {
      [](vmm::Tree& tree) { tree = vmm::Tree(); },
      [](vmm::Tree& tree) { tree.SetStruct<uint64_t>("preserved-memory-map", 0); },
      [](vmm::Tree& tree) { tree.SetStruct<uint32_t>("preserved-memory-map", 0x1000); },
      [](vmm::Tree& tree) { tree.AddChild(vmm::Tree("LUO")); },
      [&](vmm::Tree& tree) { tree.AddChild(vmm::Tree("LUO")).SetStruct("preserved-data", blob_); },
      [&](vmm::Tree& tree) {
        tree.AddChild(Node("LUO", blob_.value(), 8)).SetStruct<uint32_t>("blob-size", 8);
      },
      [&](vmm::Tree& tree) {
        tree.AddChild(Node("LUO", blob_.value(), 8));
        tree.AddChild(Node("LUO", root_.value(), 8));
      },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    vmm::Tree tree = GoodTree();
    changes[i](tree);
    EXPECT_EQ(ReadTree(tree).status().code(), absl::StatusCode::kDataLoss) << i;
  }
  vmm::Tree no_map;
  no_map.SetString("compatible", "kho-v4");
  EXPECT_EQ(ReadTree(no_map).status().code(), absl::StatusCode::kDataLoss);
  vmm::Tree outside = GoodTree();
  outside.AddChild(Node("LUO", 0x1000, 8));
  EXPECT_EQ(ReadTree(outside).status().code(), absl::StatusCode::kOutOfRange);
  vmm::Tree wraps = GoodTree();
  wraps.AddChild(Node("LUO", blob_.value(), ~uint64_t{0}));
  EXPECT_EQ(ReadTree(wraps).status().code(), absl::StatusCode::kOutOfRange);
  // An empty blob lies nowhere.
  vmm::Tree empty = GoodTree();
  empty.AddChild(Node("LUO", 0, 0));
  EXPECT_TRUE(ReadTree(empty).ok());
}

TEST_F(SubtreeTest, ADamagedRootIsNotChanged) {
  memset(machine_.memory().Write(root_, abi::kKhoRootSize)->data(), 0xa5, abi::kKhoRootSize);
  EXPECT_EQ(Read().status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(AddSubtree(machine_.memory(), root_, {"LUO", blob_, 8}).code(),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(RemoveSubtree(machine_.memory(), root_, blob_).code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(WriteHandoverRoot(machine_.memory(), PhysicalAddress(0), blob_).code(),
            absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace luo
