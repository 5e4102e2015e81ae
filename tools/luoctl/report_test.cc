#include "tools/luoctl/report.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace vmm {
namespace {

using testing::HasSubstr;
using testing::Not;

HostStatus Updated() {
  HostStatus host;
  host.phase = "idle";
  host.pid = 7;
  host.kernel = "7.3.5";
  host.old_kernel = "7.3.4";
  host.generation = 2;
  host.kexec_ns = 950'500'000;
  host.blackout_ns = 1'002'300'000;
  return host;
}

VmStatus FailedVm() {
  VmStatus vm;
  vm.name = "db";
  vm.state = "failed";
  vm.detail = "its process exited with status 1 \"before\" the VM ran";
  vm.memory_bytes = uint64_t{2} << 30;
  return vm;
}

TEST(ReportTest, TextNamesFailedVmsAndWhy) {
  std::string text = StatusText(Updated(), {FailedVm()});
  EXPECT_THAT(text, HasSubstr("luod: idle, process 7, kernel 7.3.5, 1 VMs"));
  EXPECT_THAT(text, HasSubstr("blackout 1002.3 ms"));
  EXPECT_THAT(text, HasSubstr("failed"));
  EXPECT_THAT(text, HasSubstr("2048 MiB"));
  EXPECT_THAT(text, HasSubstr("exited with status 1"));
}

TEST(ReportTest, WithoutAnUpdateNoFiguresAreInvented) {
  HostStatus host;
  host.phase = "idle";
  EXPECT_THAT(StatusText(host, {}), Not(HasSubstr("last update")));
  nlohmann::json json = nlohmann::json::parse(StatusJson(host, {}));
  EXPECT_TRUE(json["last_update"].is_null());
  EXPECT_TRUE(json["vms"].is_array());
}

TEST(ReportTest, JsonHasTheFiguresInMilliseconds) {
  nlohmann::json json = nlohmann::json::parse(StatusJson(Updated(), {FailedVm()}));
  EXPECT_DOUBLE_EQ(json["last_update"]["kexec_ms"], 950.5);
  EXPECT_EQ(json["last_update"]["generation"], 2);
  EXPECT_EQ(json["vms"][0]["name"], "db");
  EXPECT_EQ(json["vms"][0]["detail"], FailedVm().detail);
}

TEST(ReportTest, JsonStaysJsonWhateverAVmSays) {
  VmStatus vm = FailedVm();
  vm.detail = "\xff\n\"";
  EXPECT_TRUE(nlohmann::json::accept(StatusJson(Updated(), {vm})));
}

}  // namespace
}  // namespace vmm
