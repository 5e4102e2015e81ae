#include "luo_kernel/inspect/salvage.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <set>
#include <string>

#include "luo_kernel/abi/block.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/inspect/test_handover.h"

namespace luo {
namespace {

using ::testing::ElementsAre;
using ::testing::Pair;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr uint64_t kPage = 4096;

// A handover that a kernel has read: its root, its map and LUO's page are something else now.
class SalvageTest : public ::testing::Test {
 protected:
  SalvageTest() : sound_(handover_.Read()) {
    std::array<uint8_t, kPage> other;
    other.fill(0xcc);
    handover_.Poke(handover_.tree(), other);
    handover_.Poke(sound_.map_address, other);
    for (const SubtreeReport& subtree : sound_.subtrees) handover_.Poke(subtree.address, other);
  }
  void Overwrite(uint64_t address) {
    std::array<uint8_t, kPage> other;
    other.fill(0xcc);
    handover_.Poke(address, other);
  }

  TestHandover handover_;
  const HandoverReport sound_;
};

TEST_F(SalvageTest, SessionsAndFilesAreFoundWithoutRootAndMap) {
  const auto found = Salvage(handover_.memory());
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->origin, "salvaged");
  EXPECT_THAT(found->problems.kept(), ElementsAre());
  ASSERT_THAT(found->luo->sessions, SizeIs(3));
  for (int i = 0; i < 3; ++i) {
    const SessionReport& session = found->luo->sessions[i];
    EXPECT_EQ(session.name, sound_.luo->sessions[i].name);
    ASSERT_EQ(session.files.size(), sound_.luo->sessions[i].files.size());
  }
  const MemfdReport& memfd = *found->luo->sessions[0].files[0].memfd;
  EXPECT_THAT(memfd.FoliosBySize(), ElementsAre(Pair(kPage, 2), Pair(2 * kPage, 1)));
  EXPECT_EQ(memfd.size, 3 * kPage + 1);
}

TEST_F(SalvageTest, FilesWhoseSessionIsLostAreShownWithoutItsName) {
  Overwrite(sound_.luo->sessions_address);
  const auto found = Salvage(handover_.memory());
  ASSERT_TRUE(found.has_value());
  EXPECT_THAT(found->problems.kept(), ElementsAre());
  ASSERT_THAT(found->luo->sessions, SizeIs(2));
  std::set<size_t> counts;
  for (const SessionReport& session : found->luo->sessions) {
    EXPECT_THAT(session.name, StartsWith("? files at 0x"));
    EXPECT_THAT(session.files, SizeIs(2));
  }
}

TEST_F(SalvageTest, WhereNothingIsLeftNothingIsFound) {
  for (const SessionReport& session : sound_.luo->sessions) {
    if (session.files.empty()) continue;
    const auto entry = handover_.Peek<abi::LuoSessionSer>(
        sound_.luo->sessions_address + sizeof(abi::BlockHeader) +
        (&session - sound_.luo->sessions.data()) * sizeof(abi::LuoSessionSer));
    Overwrite(entry.file_set.files);
  }
  EXPECT_FALSE(Salvage(handover_.memory()).has_value());
}

TEST_F(SalvageTest, ListsThatGoInCirclesEnd) {
  const auto entry =
      handover_.Peek<abi::LuoSessionSer>(sound_.luo->sessions_address + sizeof(abi::BlockHeader));
  handover_.Poke<uint64_t>(entry.file_set.files, entry.file_set.files);
  const auto found = Salvage(handover_.memory());
  ASSERT_TRUE(found.has_value());
  EXPECT_FALSE(found->problems.empty());
  EXPECT_THAT(found->luo->sessions, SizeIs(3));
}

}  // namespace
}  // namespace luo
