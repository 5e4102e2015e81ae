// text.h and json.h: what a report looks like.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "luo_kernel/inspect/json.h"
#include "luo_kernel/inspect/test_handover.h"
#include "luo_kernel/inspect/test_older_handover.h"
#include "luo_kernel/inspect/text.h"

namespace luo {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

Report SampleReport() {
  TestHandover handover;
  Report report = {.source = "vmcore", .memory_bytes = 512 << 10, .kernel = "7.3.test"};
  report.handovers.push_back(handover.Read());
  return report;
}

TEST(TextTest, ShowsEverythingInLinesThatFit) {
  const std::string text = Text(SampleReport(), {});
  for (const char* part :
       {"vmcore, Linux 7.3.test, 512 KiB of memory", "kho-v4", "left by Linux 7.3.old for kexec 5",
        "luo-v5", "live update 3", "3 sessions, 4 files, 1 FLB\n", "\"a\"  2 files, 12.0 KiB",
        "1 × 8 KiB + 2 × 4 KiB", "at 7", "sealed shrink,grow", "other-v1", "data 0x4d",
        "FLB flb-v1: 4 files, data 0x63", "nothing is wrong with it", "█"}) {
    EXPECT_THAT(text, HasSubstr(part));
  }
  EXPECT_THAT(text, Not(HasSubstr("\033")));
  EXPECT_THAT(text, Not(HasSubstr("in no file below")));
}

// Columns, of text in UTF-8.
size_t ColumnsOf(absl::string_view line) {
  return std::count_if(line.begin(), line.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

TEST(TextTest, LongProblemsAndNotesAreWrapped) {
  Report report = SampleReport();
  report.handovers[0].origin = "found in memory, the latest, goes out";
  std::string words;
  for (int i = 0; i < 60; ++i)
    absl::StrAppend(&words, i == 0 ? "" : " ", std::string(i % 9, 'w'), i);
  report.handovers[0].problems.Add(words);
  report.notes.push_back(words);
  const std::string text = Text(report, {});
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    EXPECT_LE(ColumnsOf(line), 80u) << line;
  }
  std::string unwrapped = absl::StrReplaceAll(text, {{"\n      ", " "}, {"\n    ", " "}});
  EXPECT_THAT(unwrapped, HasSubstr("  - " + words + "\n"));
  EXPECT_THAT(unwrapped, HasSubstr("note: " + words + "\n"));
  // A word that is longer than a line stays whole.
  report.notes = {std::string(100, 'x') + " y"};
  EXPECT_THAT(Text(report, {}), HasSubstr("note: " + std::string(100, 'x') + "\n      y\n"));
}

TEST(TextTest, ColoursOnlyWhenAsked) {
  Report report = SampleReport();
  report.handovers[0].problems.Add("broken");
  EXPECT_THAT(Text(report, {.color = true}), HasSubstr("\033[31mbroken\033[0m"));
  EXPECT_THAT(Text(report, {}), HasSubstr("  - broken\n"));
}

TEST(TextTest, ManyAreCutShortUnlessAllAreWanted) {
  Report report = SampleReport();
  std::vector<SessionReport>& sessions = report.handovers[0].luo->sessions;
  sessions[0].files.resize(50, sessions[0].files[0]);
  sessions.resize(30, sessions[0]);
  for (int i = 0; i < 500; ++i) report.handovers[0].problems.Add("bad");
  const std::string text = Text(report, {});
  EXPECT_THAT(text, HasSubstr("… and 42 more files"));
  EXPECT_THAT(text, HasSubstr("… and 10 more sessions"));
  EXPECT_THAT(text, HasSubstr("wrong with it: 500"));
  EXPECT_THAT(text, HasSubstr("… and 480 more"));
  const std::string all = Text(report, {.all = true});
  EXPECT_THAT(all, Not(HasSubstr("more files")));
  EXPECT_THAT(all, Not(HasSubstr("more sessions")));
  EXPECT_THAT(all, HasSubstr("… and 300 more"));
}

TEST(TextTest, HostileNamesDoNotReachTheTerminal) {
  Report report = SampleReport();
  LuoReport& luo = *report.handovers[0].luo;
  luo.sessions[0].name = "\033[2J";
  luo.sessions[1].files[1].compatible = "\033]0;";
  luo.flbs[0].name = "\r\n";
  luo.compatible = "\x07";
  report.handovers[0].compatible = "\x1b";
  report.handovers[0].kexec->previous_release = "\x1b[1m";
  report.handovers[0].subtrees[0].name = "\x1b";
  const std::string text = Text(report, {});
  EXPECT_THAT(text, Not(HasSubstr("\033")));
  EXPECT_THAT(text, Not(HasSubstr("\r")));
  EXPECT_THAT(text, Not(HasSubstr("\x07")));
}

TEST(TextTest, SaysWhenThereIsNothing) {
  EXPECT_THAT(Text({.source = "x"}, {}), HasSubstr("no handover found"));
  Report unwritten = SampleReport();
  unwritten.handovers[0].luo->sessions_address = 0;
  EXPECT_THAT(Text(unwritten, {}), HasSubstr("the kernel does that in reboot(KEXEC)"));
  unwritten.handovers[0].luo->compatible = "luo-v1";
  EXPECT_THAT(Text(unwritten, {}),
              HasSubstr("no session is written down, or it could not be read"));
  EXPECT_THAT(Text(unwritten, {}), Not(HasSubstr("reboot(KEXEC)")));
}

TEST(TextTest, BytesAreReadable) {
  EXPECT_EQ(HumanBytes(0), "0 bytes");
  EXPECT_EQ(HumanBytes(1023), "1023 bytes");
  EXPECT_EQ(HumanBytes(4096), "4 KiB");
  EXPECT_EQ(HumanBytes(3 << 19), "1.5 MiB");
  EXPECT_EQ(HumanBytes(~uint64_t{0}), "16 EiB");
}

TEST(JsonTest, HasEveryFigure) {
  const auto json = nlohmann::json::parse(Json(SampleReport()));
  EXPECT_EQ(json["source"], "vmcore");
  EXPECT_EQ(json["kernel"], "7.3.test");
  const auto& handover = json["handovers"][0];
  EXPECT_EQ(handover["compatible"], "kho-v4");
  EXPECT_EQ(handover["kexec"]["count"], 5);
  EXPECT_EQ(handover["problems"], nlohmann::json::array());
  EXPECT_EQ(handover["claimed_bytes"], handover["preserved_bytes"]);
  EXPECT_EQ(handover["preserved_by_bytes"]["8192"], 1);
  EXPECT_EQ(handover["luo"]["number"], 3);
  EXPECT_EQ(handover["luo"]["flbs"][0]["name"], "flb-v1");
  const auto& file = handover["luo"]["sessions"][0]["files"][0];
  EXPECT_EQ(file["token"], "0x1");
  EXPECT_EQ(file["memfd"]["size"], 12289);
  EXPECT_EQ(file["memfd"]["folios_by_bytes"]["4096"], 2);
  EXPECT_EQ(handover["luo"]["sessions"][1]["files"][1]["memfd"], nullptr);
}

TEST(JsonTest, WhatIsPreservedIsNotKnownWithoutAMap) {
  Report report;
  report.handovers.push_back(TestOlderHandover().Read());
  const auto json = nlohmann::json::parse(Json(report));
  const auto& handover = json["handovers"][0];
  EXPECT_EQ(handover["compatible"], "kho-v1");
  for (const char* key : {"map_bytes", "preserved_bytes", "preserved_by_bytes"}) {
    ASSERT_TRUE(handover.contains(key)) << key;
    EXPECT_EQ(handover[key], nullptr) << key;
  }
}

TEST(TextTest, ShowsMemfdsOfNoKnownSession) {
  Report report = SampleReport();
  report.handovers[0].unassigned.resize(10, *report.handovers[0].luo->sessions[0].files[0].memfd);
  EXPECT_THAT(Text(report, {}), HasSubstr("in some session  10 memfds, 120.0 KiB"));
  EXPECT_THAT(Text(report, {}), HasSubstr("… and 2 more files"));
  const auto json = nlohmann::json::parse(Json(report));
  EXPECT_EQ(json["handovers"][0]["unassigned"].size(), 10u);
  EXPECT_EQ(json["handovers"][0]["unassigned"][0]["memfd"]["position"], 7);
}

TEST(JsonTest, SurvivesNamesThatAreNoText) {
  Report report = SampleReport();
  report.handovers[0].luo->sessions[0].name = "\xff\x01";
  const auto json = nlohmann::json::parse(Json(report));
  EXPECT_EQ(json["handovers"][0]["luo"]["sessions"][0]["name_hex"], "ff01");
}

TEST(JsonTest, NamesWhereContentsWent) {
  const Report report = SampleReport();
  const uint64_t address = report.handovers[0].luo->sessions[0].files[0].memfd->address;
  const ExtractedFiles extracted = {{address, "/tmp/x"}};
  const auto json = nlohmann::json::parse(Json(report, &extracted));
  const auto& files = json["handovers"][0]["luo"]["sessions"][0]["files"];
  EXPECT_EQ(files[0]["extracted"], "/tmp/x");
  EXPECT_EQ(files[1]["extracted"], nullptr);
}

}  // namespace
}  // namespace luo
