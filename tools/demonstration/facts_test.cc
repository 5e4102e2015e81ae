#include "tools/demonstration/facts.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tools/demonstration/sample.h"

namespace vmm::demonstration {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> Values(const Findings& findings) {
  std::vector<std::string> values;
  for (const Fact& fact : FactsOf(findings)) values.push_back(fact.name + ": " + fact.value);
  return values;
}

TEST(FactsTest, TellWhatWasFound) {
  EXPECT_THAT(Values(SampleFindings()),
              ElementsAre("blackout: 2,253 ms", "bare kexec: 1,800 ms", "RAM copied: 0 bytes",
                          "state: 28,137 bytes", "folios: 2 MiB", "compared: 262,144 words"));
  EXPECT_THAT(
      FactsOf(SampleFindings())[2].notes,
      ElementsAre("512 of 512 pages did not move", "the rehearsal before had moved 8,192 bytes"));
}

TEST(FactsTest, CountCopiedPages) {
  Findings findings = SampleFindings();
  findings.pages_moved = 3;
  EXPECT_EQ(FactsOf(findings)[2].value, "12,288 bytes");
  EXPECT_EQ(FactsOf(findings)[2].notes[0], "509 of 512 pages did not move");
}

TEST(FactsTest, NoneWithoutEvidence) {
  EXPECT_THAT(FactsOf(Findings()), IsEmpty());
  EXPECT_THAT(Cast(Findings()), IsEmpty());
}

TEST(FactsTest, CastNamesTheKernels) {
  Findings findings = SampleFindings();
  EXPECT_THAT(
      Cast(findings),
      ElementsAre("Guest: Debian's kernel, 2 vCPUs, 2 MiB, under load.",
                  "Host: emulated in software, Linux 7.3.4 replaced by Linux 7.3.5 by kexec."));
  findings.new_kernel = findings.old_kernel;
  findings.accelerator = "kvm";
  EXPECT_EQ(Cast(findings)[1], "Host: a virtual machine, Linux 7.3.4 booted anew by kexec.");
}

TEST(FactsTest, NumbersAreForPeople) {
  EXPECT_EQ(Grouped(0), "0");
  EXPECT_EQ(Grouped(999), "999");
  EXPECT_EQ(Grouped(1000), "1,000");
  EXPECT_EQ(Grouped(1234567), "1,234,567");
  EXPECT_EQ(Milliseconds(41.67), "41.7 ms");
  EXPECT_EQ(Milliseconds(2345.6), "2,346 ms");
  EXPECT_EQ(Milliseconds(-2345.6), "-2,346 ms");
  EXPECT_EQ(Bytes(0), "0 bytes");
  EXPECT_EQ(Bytes(4096), "4,096 bytes");
  EXPECT_EQ(Bytes(512 << 20), "512 MiB");
}

}  // namespace
}  // namespace vmm::demonstration
