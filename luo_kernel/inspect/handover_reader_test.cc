#include "luo_kernel/inspect/handover_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>
#include <vector>

#include "luo_kernel/abi/block.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/abi/luo_v1.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/inspect/test_handover.h"
#include "luo_kernel/inspect/test_older_handover.h"

namespace luo {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::SizeIs;

constexpr uint64_t kPage = 4096;

// Where things lie in the test's handover.
class HandoverReaderTest : public ::testing::Test {
 protected:
  HandoverReaderTest() : sound_(handover_.Read()) {}

  void ExpectProblem(const std::string& problem) {
    const HandoverReport report = handover_.Read();
    EXPECT_THAT(report.problems.kept(), Contains(HasSubstr(problem)));
  }

  uint64_t luo() const {
    for (const SubtreeReport& subtree : sound_.subtrees) {
      if (subtree.name == "LUO") return subtree.address;
    }
    return 0;
  }
  uint64_t sessions() const { return sound_.luo->sessions_address; }
  // The entry of a session, and of a file of session "a".
  uint64_t Session(int i) const {
    return sessions() + sizeof(abi::BlockHeader) + i * sizeof(abi::LuoSessionSer);
  }
  uint64_t Files() const { return handover_.Peek<abi::LuoSessionSer>(Session(0)).file_set.files; }
  uint64_t File(int i) const {
    return Files() + sizeof(abi::BlockHeader) + i * sizeof(abi::LuoFileSer);
  }
  uint64_t Memfd() const { return sound_.luo->sessions[0].files[0].memfd->address; }
  uint64_t Chunk() const { return handover_.Peek<abi::MemfdSer>(Memfd()).folios.first; }
  uint64_t Folio(int i) const {
    return handover_.Peek<abi::VmallocChunk>(Chunk()).addresses[0] + i * sizeof(abi::MemfdFolioSer);
  }
  // The path to the leaf of the single pages: nodes of levels 5 to 0.
  std::array<uint64_t, 6> Path() const {
    std::array<uint64_t, 6> path;
    path[0] = sound_.map_address;
    const uint64_t key = abi::EncodeRadixKey(Memfd(), 0);
    for (unsigned level = 5; level > 0; --level) {
      path[6 - level] =
          handover_.Peek<uint64_t>(path[5 - level] + abi::RadixTableIndex(key, level) * 8);
    }
    return path;
  }
  void Preserve(uint64_t address, unsigned order, bool preserve) {
    const uint64_t key = abi::EncodeRadixKey(address, order);
    uint64_t node = sound_.map_address;
    for (unsigned level = 5; level > 0; --level) {
      node = handover_.Peek<uint64_t>(node + abi::RadixTableIndex(key, level) * 8);
      ASSERT_NE(node, 0u);
    }
    const uint64_t word = node + abi::RadixBitmapIndex(key) / 64 * 8;
    const uint64_t bit = uint64_t{1} << (key % 64);
    const auto bits = handover_.Peek<uint64_t>(word);
    handover_.Poke<uint64_t>(word, preserve ? bits | bit : bits & ~bit);
  }

  TestHandover handover_;
  const HandoverReport sound_;
};

TEST_F(HandoverReaderTest, ASoundOneIsShownWholeAndNothingIsWrong) {
  EXPECT_THAT(sound_.problems.kept(), ElementsAre());
  EXPECT_EQ(sound_.compatible, "kho-v4");
  EXPECT_EQ(sound_.kexec->previous_release, "7.3.old");
  EXPECT_EQ(sound_.kexec->count, 5u);
  ASSERT_TRUE(sound_.luo.has_value());
  EXPECT_EQ(sound_.luo->compatible, "luo-v5");
  EXPECT_EQ(sound_.luo->number, 3u);
  ASSERT_THAT(sound_.luo->sessions, SizeIs(3));
  EXPECT_EQ(sound_.luo->sessions[0].name, "a");
  const FileReport& file = sound_.luo->sessions[0].files[0];
  EXPECT_EQ(file.token, 1u);
  EXPECT_EQ(file.compatible, "memfd-v2");
  EXPECT_EQ(file.memfd->size, 3 * kPage + 1);
  EXPECT_EQ(file.memfd->position, 7u);
  EXPECT_EQ(file.memfd->seals, 6u);
  EXPECT_THAT(file.memfd->FoliosBySize(), ElementsAre(Pair(kPage, 2), Pair(2 * kPage, 1)));
  EXPECT_EQ(sound_.luo->sessions[0].files[1].memfd->size, 0u);
  EXPECT_EQ(sound_.luo->sessions[1].files[1].compatible, "other-v1");
  EXPECT_EQ(sound_.luo->sessions[1].files[1].data, 77u);
  EXPECT_FALSE(sound_.luo->sessions[1].files[1].memfd.has_value());
  EXPECT_THAT(sound_.luo->sessions[2].files, SizeIs(0));
  ASSERT_THAT(sound_.luo->flbs, SizeIs(1));
  EXPECT_EQ(sound_.luo->flbs[0].name, "flb-v1");
  EXPECT_EQ(sound_.luo->flbs[0].file_count, 4u);
}

TEST_F(HandoverReaderTest, EveryPreservedPageIsAccountedFor) {
  EXPECT_EQ(sound_.claimed_bytes, sound_.preserved_bytes);
  uint64_t bytes = 0;
  for (const auto& [size, count] : sound_.preserved) bytes += size * count;
  EXPECT_EQ(bytes, sound_.preserved_bytes);
}

TEST_F(HandoverReaderTest, SessionsNotYetWrittenDownAreNoProblem) {
  handover_.Poke<uint64_t>(luo() + offsetof(abi::LuoSer, sessions_pa), 0);
  const HandoverReport report = handover_.Read();
  EXPECT_THAT(report.problems.kept(), ElementsAre());
  EXPECT_THAT(report.luo->sessions, SizeIs(0));
  EXPECT_LT(report.claimed_bytes, report.preserved_bytes);
}

TEST_F(HandoverReaderTest, BeforeThatMemfdsAreFoundByTheirLooks) {
  handover_.Poke<uint64_t>(luo() + offsetof(abi::LuoSer, sessions_pa), 0);
  const HandoverReport report = handover_.Read();
  ASSERT_THAT(report.unassigned, SizeIs(2));  // All but the empty one.
  const MemfdReport& small = report.unassigned[report.unassigned[0].size == kPage ? 0 : 1];
  const MemfdReport& large = report.unassigned[report.unassigned[0].size == kPage ? 1 : 0];
  EXPECT_EQ(small.size, kPage);
  EXPECT_EQ(large.size, 3 * kPage + 1);
  EXPECT_EQ(large.position, 7u);
  EXPECT_THAT(large.FoliosBySize(), ElementsAre(Pair(kPage, 2), Pair(2 * kPage, 1)));
  EXPECT_THAT(sound_.unassigned, SizeIs(0));
}

TEST_F(HandoverReaderTest, APageThatIsNearlyAMemfdsIsNone) {
  handover_.Poke<uint64_t>(luo() + offsetof(abi::LuoSer, sessions_pa), 0);
  for (const auto& [offset, value] :
       {std::pair<uint64_t, uint64_t>{offsetof(abi::MemfdSer, nr_folios), 0},
        {offsetof(abi::MemfdSer, nr_folios), 1000},
        {offsetof(abi::MemfdSer, seals), 0x40},
        {offsetof(abi::MemfdSer, folios), Memfd() + 1},
        {offsetof(abi::MemfdSer, folios) + offsetof(abi::Vmalloc, total_pages), 7},
        {4088, 1}}) {
    const auto before = handover_.Peek<uint64_t>(Memfd() + offset);
    handover_.Poke<uint64_t>(Memfd() + offset, value);
    EXPECT_THAT(handover_.Read().unassigned, SizeIs(1)) << offset;
    handover_.Poke<uint64_t>(Memfd() + offset, before);
  }
  EXPECT_THAT(handover_.Read().unassigned, SizeIs(2));
}

// KHO's tree.

TEST_F(HandoverReaderTest, NoTreeAtAll) {
  EXPECT_THAT(ReadHandover(handover_.memory(), handover_.tree() + 1, "").problems.kept(),
              ElementsAre(HasSubstr("no page of memory")));
  EXPECT_THAT(ReadHandover(handover_.memory(), ~uint64_t{0} & -kPage, "").problems.kept(),
              ElementsAre(HasSubstr("no page of memory")));
  EXPECT_THAT(ReadHandover(handover_.memory(), Memfd(), "").problems.kept(),
              ElementsAre(HasSubstr("no device tree")));
}

TEST_F(HandoverReaderTest, ATreeOfAnotherVersionIsNamedAndLeftAlone) {
  std::vector<uint8_t> page(kPage);
  PhysicalReader& reader = handover_.memory();
  ASSERT_TRUE(reader.Read(handover_.tree(), absl::MakeSpan(page)).ok());
  const std::string text(page.begin(), page.end());
  handover_.Poke<char>(handover_.tree() + text.find("kho-v4") + 5, '9');
  ExpectProblem(
      "\"kho-v9\", and only \"kho-v4\" can be read, and subtrees of \"kho-v1\" to \"kho-v3\"");
  EXPECT_FALSE(handover_.Read().luo.has_value());
  EXPECT_THAT(FindHandovers(handover_.memory()), ElementsAre(handover_.tree()));
}

TEST_F(HandoverReaderTest, ASizeBeyondThePageIsRefused) {
  handover_.Poke<uint32_t>(handover_.tree() + 4, 0xffffffff);
  ExpectProblem("a device tree of 4294967295 bytes, of which 4096 are there");
}

TEST_F(HandoverReaderTest, TheSearchFindsItAndNothingElse) {
  EXPECT_THAT(FindHandovers(handover_.memory()), ElementsAre(handover_.tree()));
  // A copy is found too, for nobody can tell which is in use.
  const uint64_t copy = TestHandover::kMemory;
  handover_.Poke(copy, handover_.Peek<std::array<uint8_t, kPage>>(handover_.tree()));
  const Report report = ReadHandovers(handover_.memory(), "test", std::nullopt);
  ASSERT_THAT(report.handovers, SizeIs(2));
  EXPECT_EQ(report.memory_bytes, TestHandover::kMemorySize);
  EXPECT_THAT(report.handovers[0].problems.kept(),
              ElementsAre(HasSubstr("KHO's device tree: 0x1000000 is not preserved")));
  EXPECT_THAT(ReadHandovers(handover_.memory(), "test", handover_.tree()).handovers, SizeIs(1));
}

// Older kernels.

class OlderTest : public ::testing::Test {
 protected:
  static constexpr uint64_t kRoot = TestOlderHandover::kRoot, kLuo = TestOlderHandover::kLuo,
                            kSessions = TestOlderHandover::kSessions;

  // Beside that the map cannot be read.
  void ExpectOlderProblem(const std::string& problem) {
    EXPECT_THAT(handover_.Read().problems.kept(),
                ElementsAre(HasSubstr("an older version"), HasSubstr(problem)));
  }

  TestOlderHandover handover_;
};

TEST_F(OlderTest, TheFirstReleaseIsShownWithoutItsMap) {
  for (const std::string version : {"kho-v1", "kho-v2", "kho-v3"}) {
    SCOPED_TRACE(version);
    handover_.WriteKho(version);
    const HandoverReport report = handover_.Read();
    EXPECT_THAT(report.problems.kept(),
                ElementsAre(AllOf(HasSubstr(version), HasSubstr("\"kho-v4\""))));
    EXPECT_EQ(report.compatible, version);
    ASSERT_TRUE(report.luo.has_value());
    EXPECT_EQ(report.luo->compatible, "luo-v1");
    EXPECT_EQ(report.luo->number, 3u);
    ASSERT_THAT(report.luo->sessions, SizeIs(2));
    EXPECT_EQ(report.luo->sessions[0].name, "web1");
    ASSERT_THAT(report.luo->sessions[0].files, SizeIs(2));
    EXPECT_EQ(report.luo->sessions[0].files[1].token, 10u);
    EXPECT_EQ(report.luo->sessions[0].files[1].compatible, "memfd-v1");
    EXPECT_EQ(report.luo->sessions[0].files[1].data, 0x5678u);
    EXPECT_EQ(report.luo->sessions[1].name, "empty");
    ASSERT_THAT(report.luo->flbs, SizeIs(1));
    EXPECT_EQ(report.luo->flbs[0].name, "iommu-v1");
  }
  EXPECT_THAT(FindHandovers(handover_.memory()), ElementsAre(kRoot));
}

TEST_F(OlderTest, SessionsOfVersion1AreNamesOnly) {
  handover_.WriteLuoWithNamesOnly();
  const HandoverReport report = handover_.Read();
  EXPECT_THAT(report.problems.kept(), SizeIs(1));
  ASSERT_THAT(report.luo->sessions, SizeIs(2));
  EXPECT_EQ(report.luo->sessions[1].name, "second");
  EXPECT_THAT(report.luo->sessions[0].files, SizeIs(0));
}

TEST_F(OlderTest, VersionsThatNobodyKnowsAreNamed) {
  handover_.WriteLuo("luo-v2", "luo-session-v2");
  ExpectOlderProblem("a device tree of \"luo-v2\"");
  handover_.WriteLuo("luo-v1", "luo-session-v3");
  ExpectOlderProblem("its luo-session is \"luo-session-v3\", which is not known");
}

TEST_F(OlderTest, CountsBeyondWhatKernelsWriteAreTold) {
  handover_.Poke(kSessions, abi::LuoV1SessionHeaderSer{820});
  ExpectOlderProblem("LUO, sessions: 820 of at most 819");
  handover_.Poke(kSessions, abi::LuoV1SessionHeaderSer{2});
  handover_.Poke(kSessions + 8 + offsetof(abi::LuoSessionSer, file_set.count), uint64_t{129});
  ExpectOlderProblem("session \"web1\", files: 129 of at most 128");
}

TEST_F(OlderTest, AddressesOutsideMemoryAndWhatIsTakenTwiceAreTold) {
  handover_.Poke(kSessions + 8 + offsetof(abi::LuoSessionSer, file_set.files),
                 ~uint64_t{0} & -kPage);
  ExpectOlderProblem("session \"web1\", files: no memory at 0xfffffffffffff000");
  handover_.Poke(kSessions + 8 + offsetof(abi::LuoSessionSer, file_set.files), kSessions);
  ExpectOlderProblem("is something else's, or its own before");
}

TEST_F(OlderTest, ATreeThatIsCutIsTold) {
  handover_.Poke<uint32_t>(kLuo + 4, 0x40000000);  // 64, big-endian
  ExpectOlderProblem("LUO's device tree");
}

// Memory of 64 TiB, zeros but for a handover.
class FakeLargeMemory : public PhysicalReader {
 public:
  explicit FakeLargeMemory(const PhysicalReader& handover) : handover_(handover) {}
  const std::vector<MemoryRange>& ranges() const override { return ranges_; }
  absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const override {
    if (handover_.Has(address, out.size())) return handover_.Read(address, out);
    std::fill(out.begin(), out.end(), 0);
    return absl::OkStatus();
  }

 private:
  const PhysicalReader& handover_;
  const std::vector<MemoryRange> ranges_ = {{.address = 0, .size = kSize}};
  static constexpr uint64_t kSize = uint64_t{1} << 46;
};

// In no time, and without memory for each page.
TEST_F(OlderTest, ASubtreeMayClaimAllOfALargeMachinesMemory) {
  const uint64_t huge = uint64_t{1} << 45;
  handover_.WriteKho("kho-v3", {{"first", huge, huge}, {"again", huge + kPage, kPage}});
  const HandoverReport report = ReadHandover(FakeLargeMemory(handover_.memory()), kRoot, "test");
  EXPECT_THAT(report.problems.kept(),
              ElementsAre(HasSubstr("an older version"),
                          HasSubstr("\"again\": the page at 0x200000001000 is something else's")));
  EXPECT_EQ(report.luo->sessions.size(), 2u);
  EXPECT_GE(report.claimed_bytes, huge);
}

// The memory map.

TEST_F(HandoverReaderTest, ANodeThatIsItsOwnChildIsVisitedOnce) {
  handover_.Poke<uint64_t>(sound_.map_address + 8 * 300, sound_.map_address);
  ExpectProblem("is in the tree twice");
  EXPECT_EQ(handover_.Read().preserved_bytes, sound_.preserved_bytes);
}

TEST_F(HandoverReaderTest, AddressesThatCanBeNoNodesAreTold) {
  handover_.Poke<uint64_t>(sound_.map_address + 8 * 300, 0x1234567);
  handover_.Poke<uint64_t>(sound_.map_address + 8 * 301, uint64_t{1} << 60);
  ExpectProblem("2 of the addresses in the node");
  EXPECT_EQ(handover_.Read().preserved_bytes, sound_.preserved_bytes);
}

TEST_F(HandoverReaderTest, KeysThatMeanNothingAreTold) {
  // Every bit of the leaf of single pages: addresses from 0 to 128 MiB.
  TestHandover other;
  const uint64_t leaf = Path()[5];
  for (int i = 0; i < 512; ++i) other.Poke<uint64_t>(leaf + i * 8, ~uint64_t{0});
  const HandoverReport report = other.Read();
  EXPECT_THAT(report.problems.kept(), Contains(HasSubstr("is not memory")));
  EXPECT_THAT(report.problems.kept(), SizeIs(Problems::kMaxKept));
}

TEST_F(HandoverReaderTest, AMapThatIsNotThereIsTold) {
  handover_.Poke<uint64_t>(sound_.map_address, 0);
  for (int i = 0; i < 512; ++i) handover_.Poke<uint64_t>(sound_.map_address + i * 8, 0);
  const HandoverReport report = handover_.Read();
  EXPECT_EQ(report.preserved_bytes, 0u);
  EXPECT_THAT(report.problems.kept(), Contains(HasSubstr("LUO: ")));
  // All else is still shown.
  EXPECT_THAT(report.luo->sessions, SizeIs(3));
}

TEST_F(HandoverReaderTest, BlocksThatOverlapAreTold) {
  const uint64_t folio = sound_.luo->sessions[0].files[0].memfd->folios[0].address;
  Preserve(folio, 0, true);
  ExpectProblem("overlaps");
}

TEST_F(HandoverReaderTest, WhatLiesInScratchMemoryIsTold) {
  const auto read = [&](std::vector<MemoryRange> scratch) {
    return ReadHandover(handover_.memory(), handover_.tree(), "test", std::move(scratch));
  };
  const MemoryRange sound = {TestHandover::kMemory, 64 << 10};
  EXPECT_THAT(read({sound}).problems.kept(), ElementsAre());
  EXPECT_THAT(read({sound, {Memfd() - kPage, 2 * kPage}}).problems.kept(),
              Contains(HasSubstr("lies in the scratch memory")));
}

TEST_F(HandoverReaderTest, TheListOfScratchRegionsIsChecked) {
  // Where OutgoingHandover has it: in the last 64 KiB of the first region.
  const uint64_t list = TestHandover::kMemory;
  Problems problems;
  EXPECT_THAT(ReadScratch(handover_.memory(), list, sizeof(abi::Scratch), problems),
              ElementsAre(MemoryRange{TestHandover::kMemory, 64 << 10}));
  EXPECT_TRUE(problems.empty());
  for (const auto& [address, size] : {std::pair<uint64_t, uint64_t>{list, 0},
                                      {list, 17},
                                      {list, ~uint64_t{0} & -16},
                                      {~uint64_t{0} - 8, 16},
                                      {list + sizeof(abi::Scratch), 16}}) {
    Problems wrong;
    EXPECT_THAT(ReadScratch(handover_.memory(), address, size, wrong), ElementsAre());
    EXPECT_THAT(wrong.kept(), ElementsAre(HasSubstr("scratch memory: "))) << size;
  }
}

// LUO.

TEST_F(HandoverReaderTest, AnotherVersionOfLuoIsNamed) {
  handover_.Poke<char>(luo() + 5, '6');
  ExpectProblem("LUO: \"luo-v6\"");
}

TEST_F(HandoverReaderTest, ABlockListThatGoesInCirclesEnds) {
  handover_.Poke<uint64_t>(sessions(), sessions());
  ExpectProblem("LUO, sessions: the page at");
  EXPECT_THAT(handover_.Read().luo->sessions, SizeIs(3));
}

TEST_F(HandoverReaderTest, ACountBeyondTheBlockIsTold) {
  handover_.Poke<uint64_t>(sessions() + offsetof(abi::BlockHeader, count), ~uint64_t{0});
  ExpectProblem("says it has 18446744073709551615 entries, of 1 to 51");
}

TEST_F(HandoverReaderTest, AnEmptyBlockIsTold) {
  handover_.Poke<uint64_t>(Files() + offsetof(abi::BlockHeader, count), 0);
  ExpectProblem("session \"a\", files: the block");
  ExpectProblem("session \"a\" says it has 2 files, and has 0");
}

TEST_F(HandoverReaderTest, ABlockOutsideOfMemoryIsTold) {
  for (const uint64_t address : {uint64_t{0x7ffffffff000}, ~uint64_t{0} & -kPage}) {
    handover_.Poke<uint64_t>(Files(), address);
    ExpectProblem("session \"a\", files: no memory at");
  }
  handover_.Poke<uint64_t>(Files(), Files() + 8);
  ExpectProblem("is not the address of a page");
  EXPECT_THAT(handover_.Read().luo->sessions[0].files, SizeIs(2));
}

TEST_F(HandoverReaderTest, NamesAreChecked) {
  handover_.Poke<char>(Session(1), 'a');
  ExpectProblem("there are two sessions \"a\"");
  handover_.Poke<char>(Session(1), '\0');
  ExpectProblem("a session has no name");
  std::array<char, abi::kSessionNameBytes> endless;
  endless.fill('\xff');
  handover_.Poke(Session(1), endless);
  ExpectProblem("\\xff\" has no end");
}

TEST_F(HandoverReaderTest, ATokenTwiceIsTold) {
  handover_.Poke<uint64_t>(File(1) + offsetof(abi::LuoFileSer, token), 1);
  ExpectProblem("session \"a\" has token 0x1 twice");
}

TEST_F(HandoverReaderTest, TooManyFlbsAreTold) {
  const uint64_t flbs = sound_.luo->flbs_address;
  handover_.Poke<uint64_t>(flbs + offsetof(abi::LuoFlbHeaderSer, count), 64);
  ExpectProblem("LUO, FLBs: 64 of at most 63");
  handover_.Poke<uint64_t>(flbs + offsetof(abi::LuoFlbHeaderSer, pgcnt), 5);
  ExpectProblem("LUO, FLBs: on 5 pages");
}

TEST_F(HandoverReaderTest, AFileThatIsOfLuosOwnMemoryIsTold) {
  handover_.Poke<uint64_t>(File(0) + offsetof(abi::LuoFileSer, data), luo());
  ExpectProblem("session \"a\", token 0x1: the page at");
  EXPECT_FALSE(handover_.Read().luo->sessions[0].files[0].memfd.has_value());
}

TEST_F(HandoverReaderTest, TwoFilesWithOneStructureAreTold) {
  handover_.Poke<uint64_t>(File(1) + offsetof(abi::LuoFileSer, data), Memfd());
  ExpectProblem("session \"a\", token 0x2: the page at");
}

// memfds.

TEST_F(HandoverReaderTest, MoreFoliosThanTheFileOrTheListHasAreTold) {
  handover_.Poke<uint64_t>(Memfd() + offsetof(abi::MemfdSer, nr_folios), uint64_t{1} << 62);
  ExpectProblem("4611686018427387904 folios for 12289 bytes");
  ExpectProblem("has room for 256 of 4611686018427387904");
}

TEST_F(HandoverReaderTest, AListOfFoliosThatMakesNoSenseIsTold) {
  const uint64_t folios = Memfd() + offsetof(abi::MemfdSer, folios);
  handover_.Poke<uint32_t>(folios + offsetof(abi::Vmalloc, total_pages), 2);
  ExpectProblem("has 1 of 2 pages");
  handover_.Poke<uint32_t>(folios + offsetof(abi::Vmalloc, total_pages), 0);
  ExpectProblem("more than the 0 pages");
  handover_.Poke<uint16_t>(folios + offsetof(abi::Vmalloc, flags), 0x8000);
  ExpectProblem("has flags 0x8000");
  handover_.Poke<uint16_t>(folios + offsetof(abi::Vmalloc, order), 0xffff);
  ExpectProblem("in blocks of order 65535");
}

TEST_F(HandoverReaderTest, AListOfMoreFoliosThanAnyFileHasIsNotRead) {
  const uint64_t folios = Memfd() + offsetof(abi::MemfdSer, folios);
  handover_.Poke<uint32_t>(folios + offsetof(abi::Vmalloc, total_pages), (1 << 24) + 1);
  ExpectProblem("its folio list is of 16777217 pages, and no file needs more than 16777216");
  EXPECT_THAT(handover_.Read().luo->sessions[0].files[0].memfd->folios, SizeIs(0));
}

TEST_F(HandoverReaderTest, AListOfPagesThatGoesInCirclesEnds) {
  handover_.Poke<uint64_t>(Chunk(), Chunk());
  ExpectProblem("list of the folio list's pages: the page at");
}

TEST_F(HandoverReaderTest, FoliosAreChecked) {
  auto folio = handover_.Peek<abi::MemfdFolioSer>(Folio(1));
  const uint64_t frame = folio.frame();
  folio.Set(frame, 3, 1);
  handover_.Poke(Folio(1), folio);
  ExpectProblem("1 folios are out of order or overlap in the file");
  folio.Set(frame, 3, 100);
  handover_.Poke(Folio(1), folio);
  ExpectProblem("1 folios lie beyond the file's end");
  folio.Set(frame, 0xffd, 2);
  handover_.Poke(Folio(1), folio);
  ExpectProblem("1 folios have flags that memfd-v2 does not know");
  ExpectProblem("1 folios are not up to date");
  folio.Set((uint64_t{1} << 52) - 1, 3, 2);
  handover_.Poke(Folio(1), folio);
  ExpectProblem("1 folios are not in memory");
  folio.Set(frame, 3, ~uint64_t{0});
  handover_.Poke(Folio(1), folio);
  ExpectProblem("beyond the file's end");
}

TEST_F(HandoverReaderTest, AFolioOfNoFrameIsAHole) {
  handover_.Poke<uint64_t>(Folio(1), uint64_t{3} << 52);
  const HandoverReport report = handover_.Read();
  EXPECT_THAT(report.problems.kept(), ElementsAre());
  EXPECT_THAT(report.luo->sessions[0].files[0].memfd->FoliosBySize(),
              ElementsAre(Pair(kPage, 1), Pair(2 * kPage, 1)));
}

TEST_F(HandoverReaderTest, AFolioOfTwoFilesIsTold) {
  auto folio = handover_.Peek<abi::MemfdFolioSer>(Folio(1));
  folio.Set(sound_.luo->sessions[1].files[0].memfd->folios[0].address / kPage, 3, 2);
  handover_.Poke(Folio(1), folio);
  const HandoverReport report = handover_.Read();
  EXPECT_THAT(report.problems.kept(), Contains(HasSubstr("belongs to both session")));
}

TEST_F(HandoverReaderTest, AFolioThatIsNotPreservedIsTold) {
  const auto folio = handover_.Peek<abi::MemfdFolioSer>(Folio(1));
  Preserve(folio.frame() * kPage, 0, false);
  ExpectProblem("session \"a\", token 0x1: 1 folios are not preserved");
}

TEST_F(HandoverReaderTest, AStructureThatIsNotPreservedIsToldAndRead) {
  Preserve(Memfd(), 0, false);
  ExpectProblem("session \"a\", token 0x1: ");
  EXPECT_EQ(handover_.Read().luo->sessions[0].files[0].memfd->size, 3 * kPage + 1);
}

TEST_F(HandoverReaderTest, UnknownSealsAndFlagsAreTold) {
  handover_.Poke<uint32_t>(Memfd() + offsetof(abi::MemfdSer, seals), 0x80000006);
  handover_.Poke<uint32_t>(Memfd() + offsetof(abi::MemfdSer, flags), 1);
  ExpectProblem("seals 0x80000006");
  ExpectProblem("flags 0x1, of which none is known");
}

}  // namespace
}  // namespace luo
