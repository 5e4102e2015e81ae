#include "tools/demonstration/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "tools/demonstration/sample.h"

namespace vmm::demonstration {
namespace {

TEST(JsonTest, HasEveryFigure) {
  nlohmann::json json = nlohmann::json::parse(Json(SampleFindings()));
  EXPECT_EQ(json["ok"], true);
  EXPECT_TRUE(json["why"].is_null());
  EXPECT_EQ(json["phases_ms"], nlohmann::json::parse(R"({"check": 200, "prepare": 40, "freeze": 60,
      "kexec": 2000, "retrieve": 100, "resume": 100})"));
  EXPECT_EQ(json["blackout_ms"], 2252.5);
  EXPECT_EQ(json["blackout_by_guest_tsc_ms"], 2252.501);
  EXPECT_EQ(json["blackout_by_host_ms"], 2250);
  EXPECT_EQ(json["bare_kexec_ms"], 1800);
  EXPECT_EQ(json["bytes_copied"], 0);
  EXPECT_EQ(json["bytes_moved_by_rehearsal"], 8192);
  EXPECT_EQ(json["state_bytes"], 28137);
  EXPECT_EQ(json["pfns_compared"], 512);
  EXPECT_EQ(json["pfns_changed"], 0);
  EXPECT_EQ(json["folio_sizes"], nlohmann::json::parse(R"([{"folio_bytes": 2097152,
      "ram_bytes": 2097152}, {"folio_bytes": 4096, "ram_bytes": 0}])"));
  EXPECT_EQ(json["words_verified"], 262144);
}

TEST(JsonTest, SaysWhyItFailedAndGuessesNothing) {
  Findings findings;
  findings.failures = {"it broke\xff", "and then more"};
  nlohmann::json json = nlohmann::json::parse(Json(findings));
  EXPECT_EQ(json["ok"], false);
  EXPECT_THAT(json["why"].get<std::string>(), testing::StartsWith("it broke"));
  EXPECT_EQ(json["failures"].size(), 2u);
  for (const char* name : {"phases_ms", "blackout_ms", "blackout_by_host_ms", "bare_kexec_ms",
                           "bytes_copied", "pfns_compared", "folio_sizes", "state_bytes"}) {
    EXPECT_TRUE(json.contains(name) && json[name].is_null()) << name;
  }
}

}  // namespace
}  // namespace vmm::demonstration
