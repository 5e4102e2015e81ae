#include "luo_kernel/versions/kernel_versions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <string.h>

#include <filesystem>
#include <fstream>
#include <string>

#include "base/tree.h"
#include "luo_kernel/versions/synthetic_kernel.h"

namespace luo {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::IsSubsetOf;
using ::testing::Not;

absl::StatusOr<LiveUpdateVersions> VersionsOf(const Bytes& kernel) {
  return ReadKernelVersions(MemfdOf(BzImage(Pack(Packing::kZstd, kernel))).get());
}

TEST(ReadKernelVersionsTest, FindsTheStringsOfAKernelWithoutSection) {
  auto versions = VersionsOf(ElfKernel({"luo-v5", "memfd-v2", "kho-v4", "KHO: whatever"}));
  ASSERT_TRUE(versions.ok()) << versions.status();
  EXPECT_THAT(versions->strings, ElementsAre("kho-v4", "luo-v5", "memfd-v2"));
  EXPECT_EQ(versions->source, "its strings");
}

TEST(ReadKernelVersionsTest, TakesWholeStringsOnly) {
  auto versions = VersionsOf(ElfKernel({"xkho-v4", "kho-v4x", "kho-v", "kho-v4 ", "luo-4", "Luo-v5",
                                        "memfd-v12", "kho-v4\nluo-v5\n"}));
  ASSERT_TRUE(versions.ok()) << versions.status();
  EXPECT_THAT(versions->strings, ElementsAre("memfd-v12"));
}

TEST(ReadKernelVersionsTest, AKernelWithoutHandoverHasNone) {
  auto versions = VersionsOf(ElfKernel({"Linux version 6.1"}));
  ASSERT_TRUE(versions.ok()) << versions.status();
  EXPECT_THAT(versions->strings, IsEmpty());
}

TEST(ReadKernelVersionsTest, ASectionCountsMoreThanStrings) {
  const std::string content("\x50\x55\x56\x4c\1\0\0\0luo-v6\0\0vfio-pci-v1\0", 28);
  auto versions =
      VersionsOf(ElfKernelWithSection({"luo-v5", "kho-v4"}, ".liveupdate_versions", content));
  ASSERT_TRUE(versions.ok()) << versions.status();
  EXPECT_THAT(versions->strings, ElementsAre("luo-v6", "vfio-pci-v1"));
  EXPECT_THAT(versions->source, HasSubstr(".liveupdate_versions"));
}

TEST(ReadKernelVersionsTest, ASectionThatIsNotUnderstoodIsNotGuessedAt) {
  auto with_section = [](const std::string& content) {
    return VersionsOf(ElfKernelWithSection({"kho-v4"}, ".liveupdate_versions", content)).status();
  };
  using std::string;
  EXPECT_EQ(with_section("").code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(with_section(string("LVUP\1\0\0\0", 8)).code(), absl::StatusCode::kUnimplemented);
  EXPECT_EQ(with_section(string("\x50\x55\x56\x4c\2\0\0\0", 8)).code(),
            absl::StatusCode::kUnimplemented);
  EXPECT_EQ(with_section(string("\x50\x55\x56\x4c\1\0\0\0kho-v4", 14)).code(),
            absl::StatusCode::kInvalidArgument)
      << "no NUL at the end";
  EXPECT_EQ(with_section(string("\x50\x55\x56\x4c\1\0\0\0\x1b[2J\0", 13)).code(),
            absl::StatusCode::kInvalidArgument)
      << "control characters";
}

TEST(ReadKernelVersionsTest, DamagedSectionHeadersCrashNothing) {
  const Bytes kernel = ElfKernelWithSection({"kho-v4"}, ".liveupdate_versions",
                                            std::string("\x50\x55\x56\x4c\1\0\0\0kho-v9\0", 15));
  for (size_t i = 0; i < 64 + 3 * 64; ++i) {
    // The ELF header, then the section headers at the end.
    Bytes damaged = kernel;
    damaged[i < 64 ? i : kernel.size() - (i - 63)] ^= 0xff;
    auto versions = VersionsOf(damaged);
    if (versions.ok()) {
      EXPECT_THAT(versions->strings, IsSubsetOf({"kho-v4", "kho-v9"})) << i;
    }
  }
}

TEST(ReadKernelVersionsTest, SaysWhyAFileIsNoKernel) {
  EXPECT_EQ(ReadKernelVersions(MemfdOf(Bytes(5000)).get()).status().code(),
            absl::StatusCode::kInvalidArgument);
}

class RunningKernelVersionsTest : public ::testing::Test {
 protected:
  void SetUp() override {
    std::string folder = ::testing::TempDir() + "/debugfs.XXXXXX";
    ASSERT_NE(mkdtemp(folder.data()), nullptr);
    debugfs_ = folder;
    std::filesystem::create_directories(debugfs_ + "/kho/out/sub_fdts");
  }
  void TearDown() override { std::filesystem::remove_all(debugfs_); }

  void Put(const std::string& path, const std::string& content) {
    std::ofstream(debugfs_ + "/kho/out/" + path, std::ios::binary) << content;
  }

  // KHO's tree, cut off as debugfs shows it: `cut` bytes are missing.
  void PutKhoTree(const std::string& compatible, size_t cut) {
    vmm::Tree root;
    root.SetString("compatible", compatible);
    root.SetU64("preserved-memory-map", 0x21c4000);
    root.AddChild(vmm::Tree("LUO")).SetU64("preserved-data", 0x28f2000);
    Bytes fdt = *vmm::EncodeTree(root);
    Put("fdt", std::string(fdt.begin(), fdt.end() - cut));
  }

  std::string debugfs_;
};

TEST_F(RunningKernelVersionsTest, AreReadFromDebugfs) {
  for (size_t cut : {0, 20}) {
    PutKhoTree("kho-v7", cut);
    Put("sub_fdts/LUO", std::string("luo-v8\0\0\1\0\0\0\0\0\0\0", 16));
    LiveUpdateVersions versions = RunningKernelVersions(debugfs_);
    EXPECT_THAT(versions.strings, ElementsAre("kho-v7", "luo-v8", "memfd-v2"));
    EXPECT_EQ(versions.source, "debugfs: kho-v7, luo-v8; assumed, as in Linux 7.3: memfd-v2");
  }
}

TEST_F(RunningKernelVersionsTest, AreAssumedWhereNothingIsSeen) {
  LiveUpdateVersions versions = RunningKernelVersions("/nonexistent");
  EXPECT_THAT(versions.strings, ElementsAre("kho-v4", "luo-v5", "memfd-v2"));
  EXPECT_EQ(versions.source, "assumed, as in Linux 7.3: kho-v4, luo-v5, memfd-v2");
}

TEST_F(RunningKernelVersionsTest, GarbageInDebugfsIsNotBelieved) {
  Put("fdt", std::string(5000, '\xd0'));
  Put("sub_fdts/LUO", "luo-vx");
  EXPECT_THAT(RunningKernelVersions(debugfs_).strings, ElementsAre("kho-v4", "luo-v5", "memfd-v2"));
  PutKhoTree("something else", 0);
  EXPECT_THAT(RunningKernelVersions(debugfs_).strings, ElementsAre("kho-v4", "luo-v5", "memfd-v2"));
}

class CheckCompatibleTest : public ::testing::Test {
 protected:
  static std::string ErrorOf(std::set<std::string> next) {
    absl::Status status = CheckCompatible({{"kho-v4", "luo-v5", "memfd-v2"}, "debugfs"},
                                          {std::move(next), "its strings"});
    EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_THAT(std::string(status.message()), Not(HasSubstr("\n")));
    return std::string(status.message());
  }
};

TEST_F(CheckCompatibleTest, MoreThanNeededIsFine) {
  EXPECT_TRUE(CheckCompatible({{"kho-v4", "luo-v5"}, ""},
                              {{"kho-v4", "luo-v5", "luo-v6", "memfd-v2", "vfio-v1"}, ""})
                  .ok());
}

TEST_F(CheckCompatibleTest, SaysWhatTheNextKernelLacks) {
  EXPECT_THAT(ErrorOf({}), AllOf(HasSubstr("CONFIG_KEXEC_HANDOVER"), HasSubstr("its strings")));
  EXPECT_THAT(ErrorOf({"kho-v4"}), HasSubstr("CONFIG_LIVEUPDATE "));
  EXPECT_THAT(ErrorOf({"kho-v4", "luo-v5"}), HasSubstr("CONFIG_LIVEUPDATE_MEMFD"));
}

TEST_F(CheckCompatibleTest, SaysWhatAnotherVersionWouldDo) {
  EXPECT_THAT(ErrorOf({"kho-v5", "luo-v5", "memfd-v2"}),
              HasSubstr("speaks kho-v5, the running one kho-v4: it would drop"));
  EXPECT_THAT(ErrorOf({"kho-v4", "luo-v4", "luo-v6", "memfd-v2"}),
              HasSubstr("speaks luo-v4, luo-v6, the running one luo-v5: it would panic"));
  EXPECT_THAT(ErrorOf({"kho-v4", "luo-v5", "memfd-v3"}), HasSubstr("/dev/liveupdate"));
}

TEST_F(CheckCompatibleTest, KnowsNoExcuseForAnUnknownFamily) {
  EXPECT_THAT(std::string(CheckCompatible({{"vfio-v1"}, ""}, {{"vfio-v2"}, ""}).message()),
              HasSubstr("does not speak vfio-v1"));
}

TEST(RunningSectionTest, ItsOwnSectionCountsMoreThanDebugfs) {
  const std::string path = testing::TempDir() + "/liveupdate_versions";
  std::ofstream(path) << std::string("\x50\x55\x56\x4c\1\0\0\0kho-v4\0luo-v5\0vfio-pci-v1\0", 34);
  const LiveUpdateVersions running = RunningKernelVersions("/nonexistent", path);
  EXPECT_THAT(running.strings, ElementsAre("kho-v4", "luo-v5", "vfio-pci-v1"));
  EXPECT_EQ(running.source, path);
}

TEST(RunningSectionTest, ADamagedSectionFileIsPassedOver) {
  const std::string path = testing::TempDir() + "/damaged_versions";
  std::ofstream(path) << "LVUP";
  const LiveUpdateVersions running = RunningKernelVersions("/nonexistent", path);
  EXPECT_THAT(running.strings, ElementsAre("kho-v4", "luo-v5", "memfd-v2"));
}

TEST(CheckDevicesTest, DevicesCountOnlyWhereDevicesAreHandedOver) {
  const LiveUpdateVersions devices = {{"kho-v4", "vfio-pci-v1", "intel-vtd-v1"}, "a"};
  const LiveUpdateVersions memory = {{"kho-v4"}, "b"};
  EXPECT_TRUE(CheckCompatible(devices, memory).ok());
  EXPECT_TRUE(CheckCompatible(devices, devices, HandedOver::kMemoryAndDevices).ok());
  const absl::Status lacks = CheckCompatible(devices, memory, HandedOver::kMemoryAndDevices);
  EXPECT_EQ(lacks.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(lacks.message()), HasSubstr("CONFIG_VFIO_PCI_LIVEUPDATE"));
  const absl::Status cannot = CheckCompatible(memory, devices, HandedOver::kMemoryAndDevices);
  EXPECT_EQ(cannot.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(cannot.message()), HasSubstr("the running kernel"));
}

TEST(CheckDevicesTest, ANextKernelThatSpeaksAnotherDeviceVersionIsRefused) {
  const LiveUpdateVersions one = {{"vfio-pci-v1", "intel-vtd-v1"}, "a"};
  const LiveUpdateVersions two = {{"vfio-pci-v2", "intel-vtd-v1"}, "b"};
  const absl::Status status = CheckCompatible(one, two, HandedOver::kMemoryAndDevices);
  EXPECT_THAT(std::string(status.message()), HasSubstr("vfio-pci-v2"));
}

}  // namespace
}  // namespace luo
