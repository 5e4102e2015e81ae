#include "tools/demonstration/evidence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>

#include <filesystem>
#include <fstream>

namespace vmm::demonstration {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

class EvidenceTest : public testing::Test {
 protected:
  EvidenceTest() : share_(testing::TempDir() + "/share.XXXXXX") {
    EXPECT_NE(mkdtemp(share_.data()), nullptr);
    std::filesystem::create_directory(share_ + "/evidence");
  }
  ~EvidenceTest() override { std::filesystem::remove_all(share_); }

  void Put(const std::string& name, const std::string& text) {
    std::ofstream(share_ + "/" + name) << text;
  }

  // All that a demonstration leaves that went well.
  void PutAll() {
    for (const char* number : {"0", "1", "2"}) {
      Put(std::string("evidence/kernel.") + number, "7.3.4\n");
      Put(std::string("evidence/boot-id.") + number, std::string("id-") + number + "\n");
    }
    for (const char* name : {"bare", "update"}) {
      const std::string path = share_ + "/evidence/" + name + ".manifest";
      ASSERT_TRUE(SaveManifest(path, {.old_kernel = name}).ok());
    }
    for (const char* name : {"started", "before", "after"}) {
      Put(std::string("evidence/frames.") + name, "4096 0 a 1\npages 1 huge 0\n");
    }
    Put("evidence/tsc-offset.before", "-5000000000\n");
    Put("evidence/tsc-offset.after", "-5000000000\n");
    Put("accelerator", "tcg\n");
    Put("web1.console.log", "HB n=1 tsc=7\r\n");
    Put("console.log", "== all is well\n");
  }

  std::string share_;
};

TEST_F(EvidenceTest, ReadsAll) {
  PutAll();
  Evidence evidence = ReadEvidence(share_);
  EXPECT_THAT(evidence.missing, IsEmpty());
  EXPECT_THAT(evidence.kernels, ElementsAre("7.3.4", "7.3.4", "7.3.4"));
  EXPECT_THAT(evidence.boot_ids, ElementsAre("id-0", "id-1", "id-2"));
  EXPECT_EQ(evidence.accelerator, "tcg");
  EXPECT_EQ(evidence.bare->old_kernel, "bare");
  EXPECT_EQ(evidence.update->old_kernel, "update");
  EXPECT_THAT(evidence.frames_after->pfns, ElementsAre(10));
  EXPECT_EQ(evidence.tsc_offset_before, -5'000'000'000);
  EXPECT_EQ(evidence.console.heartbeats.size(), 1u);
  EXPECT_EQ(evidence.scenario_failure, "");
}

TEST_F(EvidenceTest, NamesWhatIsMissingOrBroken) {
  PutAll();
  std::filesystem::remove(share_ + "/evidence/frames.after");
  Put("evidence/tsc-offset.after", "much\n");
  Put("evidence/update.manifest", "nonsense");
  Evidence evidence = ReadEvidence(share_);
  EXPECT_EQ(evidence.missing.size(), 3u);
  EXPECT_THAT(evidence.missing, Contains(HasSubstr("frames after the update: it is not there")));
  EXPECT_THAT(evidence.missing, Contains(HasSubstr("offset after the update: it is no number")));
  EXPECT_THAT(evidence.missing, Contains(HasSubstr("record of the update: ")));
  EXPECT_FALSE(evidence.update.has_value());
  EXPECT_TRUE(evidence.frames_before.has_value());
}

TEST_F(EvidenceTest, KnowsWhyTheScenarioGaveUp) {
  Put("console.log", "== a step\nFAIL: web1 printed no line\n== the scenario ends with 1\n");
  EXPECT_EQ(ReadEvidence(share_).scenario_failure, "web1 printed no line");
}

TEST_F(EvidenceTest, AnEmptyShareIsNoError) {
  Evidence evidence = ReadEvidence(share_ + "/none");
  EXPECT_FALSE(evidence.missing.empty());
  EXPECT_FALSE(evidence.bare.has_value());
}

}  // namespace
}  // namespace vmm::demonstration
