#include "vmm/machine/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "vmm/machine/vm_name.h"

namespace vmm {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

MachineConfig Sample() {
  MachineConfig config;
  config.name = "web1";
  config.kernel = "/boot/vmlinuz";
  config.initramfs = "/boot/initrd";
  config.command_line = "console=ttyS0 quiet";
  config.vcpus = 4;
  config.memory_bytes = uint64_t{4} << 30;
  config.huge_pages = HugePages::kOn;
  config.prefault = true;
  config.serial = "file:/tmp/web1.log";
  config.on_reset = OnReset::kExit;
  config.luod_socket = "/run/luod/luod.sock";
  return config;
}

TEST(ConfigTest, SavesAndRestoresEveryField) {
  absl::StatusOr<MachineConfig> again = MachineConfig::Restore(Sample().Save());
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->ToArguments(), Sample().ToArguments());
  EXPECT_EQ(again->memory_bytes, Sample().memory_bytes);
  EXPECT_EQ(again->huge_pages, HugePages::kOn);
  EXPECT_TRUE(again->prefault);
  EXPECT_EQ(again->on_reset, OnReset::kExit);
}

TEST(ConfigTest, RestoreRefusesEachMissingProperty) {
  const Tree node = Sample().Save();
  for (const auto& [missing, value] : node.properties()) {
    if (missing == "prefault") continue;  // A flag: absent means false.
    Tree without("config");
    for (const auto& [name, bytes] : node.properties()) {
      if (name != missing) without.SetBytes(name, bytes);
    }
    EXPECT_FALSE(MachineConfig::Restore(without).ok()) << missing;
  }
}

TEST(ConfigTest, RestoreRefusesAnotherVersionAndImpossibleValues) {
  Tree node = Sample().Save();
  node.SetString("compatible", "vmm,config-v2");
  EXPECT_FALSE(MachineConfig::Restore(node).ok());
  node = Sample().Save();
  node.SetU32("vcpus", 0);
  EXPECT_FALSE(MachineConfig::Restore(node).ok());
}

TEST(ConfigTest, ArgumentsLeaveOutWhatIsNotThere) {
  MachineConfig config = Sample();
  config.initramfs.clear();
  config.prefault = false;
  config.luod_socket.clear();
  EXPECT_THAT(config.ToArguments(), Not(Contains(HasSubstr("--initramfs"))));
  EXPECT_THAT(config.ToArguments(), Not(Contains("--prefault")));
  EXPECT_THAT(config.ToArguments(), Contains("--luod=none"));
}

TEST(ConfigTest, ValidateNamesTheOption) {
  const auto refusal = [](auto change) {
    MachineConfig config = Sample();
    change(config);
    return std::string(config.Validate().message());
  };
  EXPECT_THAT(refusal([](auto& c) { c.vcpus = 0; }), HasSubstr("--cpus"));
  EXPECT_THAT(refusal([](auto& c) { c.vcpus = 257; }), HasSubstr("--cpus"));
  EXPECT_THAT(refusal([](auto& c) { c.memory_bytes = 1 << 20; }), HasSubstr("--memory"));
  EXPECT_THAT(refusal([](auto& c) { c.memory_bytes += 1; }), HasSubstr("--memory"));
  EXPECT_THAT(refusal([](auto& c) { c.memory_bytes = uint64_t{1} << 60; }), HasSubstr("--memory"));
  EXPECT_THAT(refusal([](auto& c) { c.kernel.clear(); }), HasSubstr("--kernel"));
  EXPECT_THAT(refusal([](auto& c) { c.name = "a/b"; }), HasSubstr("name"));
  EXPECT_THAT(refusal([](auto& c) { c.serial = std::string("a\0b", 3); }), HasSubstr("NUL"));
  EXPECT_TRUE(Sample().Validate().ok()) << Sample().Validate();
}

TEST(VmNameTest, TakesWhatSessionsAndFilesCanHold) {
  EXPECT_TRUE(CheckVmName("web1").ok());
  EXPECT_TRUE(CheckVmName(std::string(kMaxVmNameLength, 'a')).ok());
  EXPECT_FALSE(CheckVmName(std::string(kMaxVmNameLength + 1, 'a')).ok());
  EXPECT_TRUE(CheckVmName("0.b_c-D").ok());
  for (const char* bad : {"", ".", "..", "../x", "a/b", "-rf", "a b", "a\n", "\xc3\xa9"}) {
    EXPECT_FALSE(CheckVmName(bad).ok()) << bad;
  }
}

TEST(ParseByteSizeTest, KnowsUnits) {
  EXPECT_EQ(*ParseByteSize("4096"), 4096u);
  EXPECT_EQ(*ParseByteSize("64M"), uint64_t{64} << 20);
  EXPECT_EQ(*ParseByteSize("4g"), uint64_t{4} << 30);
  EXPECT_EQ(*ParseByteSize("1TiB"), uint64_t{1} << 40);
  EXPECT_EQ(*ParseByteSize("8kB"), 8192u);
}

TEST(ParseByteSizeTest, RefusesTheRest) {
  for (const char* bad : {"", "M", "-1", "4X", "4Mx", "1.5G", " 4G", "99999999999999999999",
                          "18446744073709551615K"}) {
    EXPECT_FALSE(ParseByteSize(bad).ok()) << bad;
  }
}

}  // namespace
}  // namespace vmm
