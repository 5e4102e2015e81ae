#include "tools/demonstration/findings.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/demonstration/sample.h"

namespace vmm::demonstration {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using testing::SizeIs;

TEST(FindingsTest, FiguresOfADemonstrationThatWentWell) {
  Findings findings = SampleFindings();
  EXPECT_THAT(findings.failures, IsEmpty());
  EXPECT_EQ(findings.old_kernel, "7.3.4");
  EXPECT_EQ(findings.new_kernel, "7.3.5");
  EXPECT_EQ(findings.guest_blackout_ms, 2252.5);
  EXPECT_EQ(findings.guest_tsc_blackout_ms, 2252.501);
  EXPECT_EQ(findings.timeline->blackout_ms(), 2250);
  EXPECT_EQ(findings.bare_kexec_ms, 1800);
  EXPECT_EQ(findings.pages_compared, 512u);
  EXPECT_EQ(findings.pages_moved, 0u);
  EXPECT_EQ(findings.pages_moved_by_rehearsal, 2u);
  EXPECT_EQ(findings.huge_pages, 512u);
  EXPECT_EQ(findings.state_bytes, 28137u);
  EXPECT_EQ(findings.words_verified, 262144u);
  EXPECT_EQ(findings.vector_checks, 1234u);
}

TEST(FindingsTest, HeartbeatsAreInTheHostsTime) {
  EXPECT_THAT(SampleFindings().timeline->heartbeats_ms, ElementsAre(0, 100, 200, 2550, 2650, 2750));
}

// Each breaks one thing of a good demonstration; the failure names it.
struct Breakage {
  const char* name;
  void (*apply)(Evidence&);
  const char* failure;
};
class BrokenTest : public testing::TestWithParam<Breakage> {};

TEST_P(BrokenTest, IsAFailure) {
  Evidence evidence = SampleEvidence();
  GetParam().apply(evidence);
  EXPECT_THAT(Judge(evidence, 0).failures, Contains(HasSubstr(GetParam().failure)));
}

INSTANTIATE_TEST_SUITE_P(
    FindingsTest, BrokenTest,
    testing::Values(
        Breakage{"Memory", [](Evidence& e) { e.console.verify = "VERIFY FAIL errors=3 index=9"; },
                 "VERIFY FAIL errors=3"},
        Breakage{"NoMemoryAnswer", [](Evidence& e) { e.console.verify = ""; },
                 "did not answer about its memory"},
        Breakage{"NothingVerified", [](Evidence& e) { e.console.verify = "VERIFY ok words=0"; },
                 "compared nothing of its memory"},
        Breakage{"Registers", [](Evidence& e) { e.console.fpu = "FPU FAIL checks=9 errors=1"; },
                 "FPU FAIL"},
        Breakage{"Clock",
                 [](Evidence& e) {
                   e.console.status = "STATUS errors=0 fpu_errors=0 mono_back=1 real_back=0";
                 },
                 "1 steps back of the guest's CLOCK_MONOTONIC"},
        Breakage{"FieldMissing", [](Evidence& e) { e.console.status = "STATUS errors=0"; },
                 "unknown complaints"},
        Breakage{"Complaint", [](Evidence& e) { e.console.complaints = {"COMPLAINT soft lockup"}; },
                 "soft lockup"},
        Breakage{"ClockMissedIt",
                 [](Evidence& e) {
                   e.console.status =
                       "STATUS maxgap_ms=20 errors=0 fpu_errors=0 mono_back=0 real_back=0 "
                       "tsc_back=0 complaints=0";
                 },
                 "the guest's clock missed the update"},
        Breakage{"NoHeartbeatAfter", [](Evidence& e) { e.console.heartbeats.resize(3); },
                 "heart did not beat after"},
        Breakage{"Frames", [](Evidence& e) { e.frames_after->pfns[5] = 1; },
                 "1 pages of the guest lie in other frames"},
        Breakage{"FrameCount", [](Evidence& e) { e.frames_after->pfns.pop_back(); },
                 "the guest has 511 pages"},
        Breakage{"MemoryLeftOut", [](Evidence& e) { e.update->vms[0].memory_bytes = 4 << 20; },
                 "the guest has 1024"},
        Breakage{"SameKernel", [](Evidence& e) { e.boot_ids[2] = "b"; },
                 "the host's kernel was not replaced"},
        Breakage{"BareKexec", [](Evidence& e) { e.bare->luod_tsc = 0; },
                 "record of the bare kexec"},
        Breakage{"Update", [](Evidence& e) { e.update->vms[0].run_tsc = 0; }, "lacks times"},
        Breakage{"TscOffset", [](Evidence& e) { e.tsc_offset_after = 1; },
                 "TSC offset changed from -400000000 to 1"},
        Breakage{"Missing", [](Evidence& e) { e.missing = {"the guest's console: not there"}; },
                 "no evidence: the guest's console"}),
    [](const auto& info) { return info.param.name; });

TEST(FindingsTest, TheScenariosOwnReasonComesFirst) {
  Evidence evidence = SampleEvidence();
  evidence.scenario_failure = "web1 printed no line";
  evidence.console.verify = "VERIFY FAIL errors=1";
  EXPECT_THAT(Judge(evidence, 1).failures,
              ElementsAre("web1 printed no line", "the guest said: VERIFY FAIL errors=1"));
}

TEST(FindingsTest, WhatAScenarioDidNotComeToIsNoFurtherReason) {
  Evidence evidence;
  evidence.missing = {"x"};
  EXPECT_THAT(Judge(evidence, 1).failures, SizeIs(1));
  EXPECT_THAT(Judge(evidence, 0).failures, Contains("no evidence: x"));
}

TEST(FindingsTest, AnExitCodeAloneIsAFailure) {
  EXPECT_THAT(Judge(SampleEvidence(), 1).failures,
              ElementsAre("the test host's scenario ended with 1"));
  EXPECT_THAT(Judge(SampleEvidence(), 125).failures,
              ElementsAre(HasSubstr("its console says why")));
  EXPECT_THAT(Judge(SampleEvidence(), 124).failures, ElementsAre(HasSubstr("took too long")));
}

TEST(FindingsTest, NoEvidenceNoFigures) {
  Findings findings = Judge(Evidence(), 1);
  EXPECT_THAT(findings.failures, Not(IsEmpty()));
  EXPECT_FALSE(findings.timeline.has_value());
  EXPECT_FALSE(findings.guest_blackout_ms.has_value());
  EXPECT_FALSE(findings.bare_kexec_ms.has_value());
  EXPECT_FALSE(findings.pages_moved.has_value());
}

}  // namespace
}  // namespace vmm::demonstration
