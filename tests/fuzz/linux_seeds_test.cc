// The seeds that were cut out of real Linux's memory are decoded to the end: so mutations of them
// reach what lies deep. What they hold is FewTestFiles().
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <fstream>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/unique_fd.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/inspect/handover_reader.h"
#include "luo_kernel/inspect/memory_image.h"
#include "luo_kernel/inspect/salvage.h"
#include "luo_kernel/kho/block_list.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/luo/image.h"
#include "luo_kernel/memfd/memfd_image.h"
#include "tests/fuzz/older_seeds.h"
#include "tests/fuzz/sparse_memory.h"
#include "tests/support/live_update_files/files.h"

namespace luo {
namespace {

using ::testing::ContainsRegex;
using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string PathOf(const std::string& target, const std::string& seed = "linux_7_3") {
  return "tests/fuzz/corpus/" + target + "/" + seed;
}

std::vector<uint8_t> BytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  EXPECT_TRUE(file) << path;
  return {std::istreambuf_iterator<char>(file), {}};
}

SparseMemory Load(const std::string& target) {
  return SparseMemory::Parse(BytesOf(PathOf(target))).value();
}

// {session, token} of all files.
std::vector<std::pair<std::string, uint64_t>> WantedFiles() {
  std::vector<std::pair<std::string, uint64_t>> files;
  for (const vmm::TestFile& file : vmm::FewTestFiles())
    files.emplace_back(file.session, file.token);
  return files;
}

void ExpectTheTestFiles(const HandoverReport& report) {
  ASSERT_TRUE(report.luo.has_value());
  std::map<std::pair<std::string, uint64_t>, MemfdReport> found;
  for (const SessionReport& session : report.luo->sessions) {
    for (const FileReport& file : session.files) {
      ASSERT_TRUE(file.memfd.has_value());
      found[{session.name, file.token}] = *file.memfd;
    }
  }
  EXPECT_THAT(report.luo->sessions, SizeIs(vmm::SessionsOf(vmm::FewTestFiles()).size()));
  EXPECT_THAT(found, SizeIs(vmm::FewTestFiles().size()));
  for (const vmm::TestFile& file : vmm::FewTestFiles()) {
    const MemfdReport& memfd = found[{file.session, file.token}];
    EXPECT_EQ(memfd.size, file.size);
    EXPECT_EQ(memfd.position, file.position);
    // The kernel sets F_SEAL_EXEC by itself.
    EXPECT_EQ(memfd.seals & ~0x20u, file.seals);
    EXPECT_EQ(memfd.folio_count, file.huge_pages ? 1 : (file.size + 4095) / 4096);
  }
}

TEST(LinuxSeedsTest, TheHandoverIsReadWhole) {
  const SparseMemory memory = Load("kho_tree");
  const auto handover = IncomingHandover::Open(memory, memory.begin().handover);
  ASSERT_TRUE(handover.ok()) << handover.status();
  EXPECT_THAT(handover->scratch(), SizeIs(3));
  EXPECT_TRUE(handover->FindSubtree("LUO").ok());
  EXPECT_TRUE(handover->FindSubtree("kexec-metadata").ok());
  // A huge page and more.
  EXPECT_GT(handover->preserved().pages(), 512u);
  const auto memfd =
      ReadStruct<abi::MemfdSer>(memory, PhysicalAddress(memory.begin().memfd)).value();
  const auto area = ReadVmallocArea(memory, memfd.folios);
  ASSERT_TRUE(area.ok()) << area.status();
  EXPECT_EQ(area->pages(), 1u);
}

TEST(LinuxSeedsTest, LuoIsReadWhole) {
  const SparseMemory memory = Load("luo_v5");
  const auto handover = IncomingHandover::Open(memory, memory.begin().handover);
  ASSERT_TRUE(handover.ok()) << handover.status();
  const Subtree luo = handover->FindSubtree("LUO").value();
  const auto image = ReadLuo(memory, luo.address, luo.size);
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->number, 1u);
  std::vector<std::string> sessions;
  std::vector<std::pair<std::string, uint64_t>> files;
  for (const SessionImage& session : image->sessions) {
    sessions.push_back(session.name);
    for (const FileImage& file : session.files) {
      EXPECT_EQ(file.compatible, "memfd-v2");
      files.emplace_back(session.name, file.token);
    }
  }
  EXPECT_EQ(sessions, vmm::SessionsOf(vmm::FewTestFiles()));
  EXPECT_EQ(files, WantedFiles());
}

TEST(LinuxSeedsTest, TheFileIsCopiedOut) {
  const SparseMemory memory = Load("memfd_v2");
  const auto handover = IncomingHandover::Open(memory, memory.begin().handover);
  ASSERT_TRUE(handover.ok()) << handover.status();
  const auto image = ReadMemfd(memory, PhysicalAddress(memory.begin().memfd));
  ASSERT_TRUE(image.ok()) << image.status();
  const auto file = CopyOutMemfd(memory, *image, FolioOrders(handover->preserved()));
  ASSERT_TRUE(file.ok()) << file.status();
  // The one with the most folios of 4 KiB.
  EXPECT_EQ(vmm::CheckTestFile(vmm::FewTestFiles()[2], file->get()), absl::OkStatus());
}

TEST(LinuxSeedsTest, TheBlocksAreReadWhole) {
  const SparseMemory memory = Load("block_list");
  const auto list =
      ReadBlockList(memory, PhysicalAddress(memory.begin().blocks), memory.begin().entry_size);
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), vmm::SessionsOf(vmm::FewTestFiles()).size());
  EXPECT_STREQ(list->Get<abi::LuoSessionSer>(0).name, "plain");
}

TEST(LinuxSeedsTest, InspectionFindsNothingWrong) {
  const SparseMemory memory = Load("inspect");
  const HandoverReport report =
      ReadHandover(memory, memory.begin().handover.root_address, "a seed");
  EXPECT_THAT(report.problems.kept(), ElementsAre());
  ASSERT_TRUE(report.kexec.has_value());
  EXPECT_EQ(report.kexec->count, 1u);
  ExpectTheTestFiles(report);
}

TEST(LinuxSeedsTest, TheHandoverIsFoundInMemory) {
  const SparseMemory memory = Load("inspect");
  EXPECT_THAT(FindHandovers(memory), ElementsAre(memory.begin().handover.root_address));
}

TEST(LinuxSeedsTest, FilesAreSalvaged) {
  const std::optional<HandoverReport> salvaged = Salvage(Load("inspect"));
  ASSERT_TRUE(salvaged.has_value());
  EXPECT_THAT(salvaged->problems.kept(), ElementsAre());
  ExpectTheTestFiles(*salvaged);
}

TEST(LinuxSeedsTest, TheImageHasAllButTheContents) {
  auto image =
      MemoryImage::Open(vmm::UniqueFd(open(PathOf("memory_image").c_str(), O_RDONLY | O_CLOEXEC)));
  ASSERT_TRUE(image.ok()) << image.status();
  const Report report = ReadHandovers(**image, "a seed", std::nullopt);
  ASSERT_THAT(report.handovers, SizeIs(1));
  ExpectTheTestFiles(report.handovers[0]);
  // The contents of two files are left out.
  EXPECT_THAT(report.handovers[0].problems.kept(), SizeIs(6));
  EXPECT_THAT(report.handovers[0].problems.kept(),
              Each(ContainsRegex("(is|are) not (in memory|memory|preserved)")));
}

// Older kernels.

TEST(OlderSeedsTest, AreWhatCutSeedsMakes) {
  for (const auto& [name, seed] : OlderSeeds()) {
    EXPECT_EQ(BytesOf(PathOf("inspect", name)), seed) << name;
  }
}

// What is read of one, with nothing wrong but that its map cannot be read.
HandoverReport ReadOlderSeed(const std::string& name) {
  const SparseMemory memory = SparseMemory::Parse(BytesOf(PathOf("inspect", name))).value();
  EXPECT_THAT(FindHandovers(memory), ElementsAre(memory.begin().handover.root_address));
  HandoverReport report = ReadHandover(memory, memory.begin().handover.root_address, "a seed");
  EXPECT_THAT(report.problems.kept(), ElementsAre(HasSubstr("an older version")));
  return report;
}

TEST(OlderSeedsTest, SessionsThatAreNamesAreRead) {
  const HandoverReport report = ReadOlderSeed("luo_session_v1");
  ASSERT_TRUE(report.luo.has_value());
  EXPECT_EQ(report.compatible, "kho-v1");
  EXPECT_EQ(report.luo->compatible, "luo-v1");
  ASSERT_THAT(report.luo->sessions, SizeIs(2));
  EXPECT_EQ(report.luo->sessions[1].name, "second");
  EXPECT_THAT(report.luo->sessions[0].files, SizeIs(0));
}

TEST(OlderSeedsTest, SessionsWithFilesAreRead) {
  const HandoverReport report = ReadOlderSeed("luo_session_v2");
  ASSERT_TRUE(report.luo.has_value());
  EXPECT_EQ(report.compatible, "kho-v3");
  EXPECT_EQ(report.luo->compatible, "luo-v1");
  ASSERT_THAT(report.luo->sessions, SizeIs(2));
  EXPECT_THAT(report.luo->sessions[0].files, SizeIs(2));
  EXPECT_THAT(report.luo->flbs, SizeIs(1));
}

// The format.

constexpr uint64_t kPage = 4096;

TEST(SparseMemoryTest, WhatIsFormattedIsParsed) {
  std::map<uint64_t, std::vector<uint8_t>> pages;
  for (uint64_t page : {0x1000u, 0x2000u, 0x8000u}) pages[page].resize(kPage);
  pages[0x1000][0] = 1;
  pages[0x1000][8] = 2;
  pages[0x1000][kPage - 1] = 3;
  pages[0x8000][100] = 4;
  const SparseMemory::Begin begin = {.memfd = 5, .blocks = 6, .entry_size = 7};
  const std::vector<uint8_t> input =
      SparseMemory::Format(begin, {{0x1000, 0x8000}, {0x100000, 0x1000}}, pages);
  EXPECT_LT(input.size(), 200u);
  const auto memory = SparseMemory::Parse(input);
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(memory->begin().memfd, 5u);
  EXPECT_EQ(memory->begin().entry_size, 7u);
  for (const auto& [address, bytes] : pages) {
    const auto found = memory->Read(PhysicalAddress(address), kPage);
    ASSERT_TRUE(found.ok()) << found.status();
    EXPECT_EQ(memcmp(found->data(), bytes.data(), kPage), 0) << address;
  }
  EXPECT_TRUE(memory->Read(PhysicalAddress(0x1800), kPage).ok());
  EXPECT_TRUE(absl::IsPermissionDenied(memory->Read(PhysicalAddress(0x2800), kPage).status()));
  EXPECT_TRUE(absl::IsPermissionDenied(memory->Read(PhysicalAddress(0x100000), 1).status()));
  EXPECT_TRUE(absl::IsOutOfRange(memory->Read(PhysicalAddress(0x9000), 1).status()));
  EXPECT_TRUE(memory->Contains(PhysicalAddress(0x3000), 0x6000));
  EXPECT_FALSE(memory->Contains(PhysicalAddress(0x3000), 0x6001));
}

TEST(SparseMemoryTest, WhatIsNoneIsRefusedAndWhatIsCutIsPassedOver) {
  EXPECT_FALSE(SparseMemory::Parse({}).ok());
  const auto with_ranges = [](const std::vector<MemoryRange>& ranges) {
    return SparseMemory::Parse(SparseMemory::Format({}, ranges, {})).ok();
  };
  EXPECT_TRUE(with_ranges({{0, 1}, {1, 1}}));
  EXPECT_FALSE(with_ranges({{1, 1}, {0, 1}}));
  EXPECT_FALSE(with_ranges({{0, 0}}));
  EXPECT_FALSE(with_ranges({{~uint64_t{0}, 2}}));
  EXPECT_FALSE(with_ranges({{SparseMemory::kBootRange.start.value() - 1, 2}}));
  EXPECT_TRUE(with_ranges({{0, SparseMemory::kMaxBytes}}));
  EXPECT_FALSE(with_ranges({{0, SparseMemory::kMaxBytes}, {SparseMemory::kMaxBytes, 1}}));
  EXPECT_FALSE(with_ranges(std::vector<MemoryRange>(65)));
  const std::vector<uint8_t> input =
      SparseMemory::Format({}, {{0, 0x2000}}, {{0x1000, std::vector<uint8_t>(kPage, 9)}});
  for (size_t size = 0; size < input.size(); size += 7) {
    const auto memory = SparseMemory::Parse(absl::MakeConstSpan(input).first(size));
    if (memory.ok()) {
      EXPECT_FALSE(memory->Read(PhysicalAddress(0x1000), 1).ok()) << size;
    }
  }
  // A piece where there is no memory.
  const auto outside = SparseMemory::Parse(
      SparseMemory::Format({}, {{0, 0x1000}}, {{0x1000, std::vector<uint8_t>(kPage, 9)}}));
  EXPECT_TRUE(absl::IsOutOfRange(outside->Read(PhysicalAddress(0x1000), 1).status()));
}

}  // namespace
}  // namespace luo
