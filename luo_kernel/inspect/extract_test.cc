#include "luo_kernel/inspect/extract.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>
#include <iterator>

#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/inspect/test_handover.h"

namespace luo {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::SizeIs;

std::string NewFolder() {
  std::string folder = ::testing::TempDir() + "/extractXXXXXX";
  EXPECT_NE(mkdtemp(folder.data()), nullptr);
  return folder;
}

std::string ReadFile(const std::string& path) {
  std::ifstream file(path);
  return std::string(std::istreambuf_iterator<char>(file), {});
}

TEST(ExtractTest, ContentsAreTheFiles) {
  TestHandover handover;
  Report report;
  report.handovers.push_back(handover.Read());
  auto files = ExtractFiles(handover.memory(), report, NewFolder() + "/new");
  ASSERT_TRUE(files.ok()) << files.status();
  ASSERT_THAT(*files, SizeIs(3));
  const SessionReport& session = report.handovers[0].luo->sessions[0];
  EXPECT_EQ(ReadFile(files->at(session.files[0].memfd->address)), TestContents());
  EXPECT_EQ(ReadFile(files->at(session.files[1].memfd->address)), "");
}

TEST(ExtractTest, MemfdsOfNoKnownSessionAreSavedToo) {
  TestHandover handover;
  Report report;
  report.handovers.push_back(handover.Read());
  const MemfdReport memfd = *report.handovers[0].luo->sessions[0].files[0].memfd;
  report.handovers[0].luo->sessions.clear();
  report.handovers[0].unassigned.push_back(memfd);
  auto files = ExtractFiles(handover.memory(), report, NewFolder());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(ReadFile(files->at(memfd.address)), TestContents());
}

TEST(ExtractTest, HolesReadAsZeros) {
  TestHandover handover;
  Report report;
  report.handovers.push_back(handover.Read());
  MemfdReport& memfd = *report.handovers[0].luo->sessions[0].files[0].memfd;
  memfd.folios.erase(memfd.folios.begin());
  auto files = ExtractFiles(handover.memory(), report, NewFolder());
  ASSERT_TRUE(files.ok()) << files.status();
  const std::string contents = ReadFile(files->at(memfd.address));
  EXPECT_EQ(contents.substr(0, 8192), std::string(8192, '\0'));
  EXPECT_EQ(contents.substr(8192), TestContents().substr(8192));
}

TEST(ExtractTest, WhatCannotBeReadOrWrittenIsTold) {
  TestHandover handover;
  Report report;
  report.handovers.push_back(handover.Read());
  MemfdReport& memfd = *report.handovers[0].luo->sessions[0].files[0].memfd;
  memfd.folios[0].address = 0;
  report.handovers[0].luo->sessions[1].files[0].memfd->size = ~uint64_t{0};
  auto files = ExtractFiles(handover.memory(), report, NewFolder());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_THAT(report.handovers[0].problems.kept(), Contains(HasSubstr("could not be read")));
  EXPECT_THAT(report.handovers[0].problems.kept(), Contains(HasSubstr("cannot have")));
  EXPECT_FALSE(ExtractFiles(handover.memory(), report, "/nonexistent/folder").ok());
}

TEST(ExtractTest, FoliosFarBeyondTheEndWriteNothing) {
  TestHandover handover;
  Report report;
  report.handovers.push_back(handover.Read());
  MemfdReport& memfd = *report.handovers[0].luo->sessions[0].files[0].memfd;
  memfd.folios[0].index = ~uint64_t{0};
  memfd.folios[1].index = uint64_t{1} << 50;
  auto files = ExtractFiles(handover.memory(), report, NewFolder());
  ASSERT_TRUE(files.ok()) << files.status();
  EXPECT_EQ(ReadFile(files->at(memfd.address)).size(), TestContents().size());
}

TEST(ExtractTest, NoSessionsNameLeavesTheFolder) {
  EXPECT_EQ(SessionFolder("web-1_a.b"), "web-1_a.b");
  EXPECT_EQ(SessionFolder(".."), "%2E.");
  EXPECT_EQ(SessionFolder("."), "%2E");
  EXPECT_EQ(SessionFolder("../../etc"), "%2E.%2F..%2Fetc");
  EXPECT_EQ(SessionFolder("a/b\n%"), "a%2Fb%0A%25");
  EXPECT_EQ(SessionFolder(""), "%");
}

}  // namespace
}  // namespace luo
