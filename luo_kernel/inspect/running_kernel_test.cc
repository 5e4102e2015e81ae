#include "luo_kernel/inspect/running_kernel.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/stat.h>

#include <fstream>

#include "absl/strings/str_format.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/inspect/test_handover.h"

namespace luo {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;
using ::testing::SizeIs;

// A folder in the place of /proc, /dev and debugfs.
class RunningKernelTest : public ::testing::Test {
 protected:
  void SetUp() override {
    ASSERT_NE(mkdtemp(folder_.data()), nullptr);
    paths_ = {.kcore = folder_ + "/kcore",
              .mem = folder_ + "/mem",
              .iomem = folder_ + "/iomem",
              .debugfs = folder_ + "/kho",
              .vmcore = folder_ + "/vmcore",
              .setup_data = folder_ + "/setup_data"};
  }

  template <typename Bytes>
  void Write(const std::string& path, const Bytes& bytes) {
    std::ofstream(path).write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  }
  template <typename T>
  static std::string BytesOf(const T& value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof(value));
  }

  void WriteDebugfs(const std::string& direction, const std::string& tree) {
    mkdir(paths_.debugfs.c_str(), 0755);
    const std::string folder = paths_.debugfs + "/" + direction;
    mkdir(folder.c_str(), 0755);
    mkdir((folder + "/sub_fdts").c_str(), 0755);
    Write(folder + "/fdt", tree);
    const HandoverReport sound = handover_.Read();
    for (const SubtreeReport& subtree : sound.subtrees) {
      if (subtree.name == abi::kLuoSubtree) {
        Write(folder + "/sub_fdts/LUO", BytesOf(handover_.Peek<abi::LuoSer>(subtree.address)));
      } else {
        Write(folder + "/sub_fdts/" + subtree.name,
              BytesOf(handover_.Peek<abi::KexecMetadata>(subtree.address)));
      }
    }
  }
  std::string Tree() {
    std::string tree = BytesOf(handover_.Peek<std::array<char, 4096>>(handover_.tree()));
    tree.resize(static_cast<uint8_t>(tree[6]) << 8 | static_cast<uint8_t>(tree[7]));
    return tree;
  }

  std::string folder_ = ::testing::TempDir() + "/kernelXXXXXX";
  KernelPaths paths_;
  TestHandover handover_;
};

TEST_F(RunningKernelTest, ReadsKcore) {
  Write(paths_.kcore, handover_.AsElfCore());
  auto kernel = ReadRunningKernel(std::nullopt, paths_);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  ASSERT_THAT(kernel->report.handovers, SizeIs(1));
  EXPECT_THAT(kernel->report.handovers[0].luo->sessions, SizeIs(3));
  EXPECT_NE(kernel->memory, nullptr);
  EXPECT_EQ(kernel->report.source, "this kernel, by " + paths_.kcore);
  WriteDebugfs("out", "");
  Write(paths_.debugfs + "/out/scratch_phys", absl::StrFormat("%#x\n", TestHandover::kMemory));
  Write(paths_.debugfs + "/out/scratch_len", std::string("0x10000\n"));
  kernel = ReadRunningKernel(std::nullopt, paths_);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_THAT(kernel->report.handovers[0].scratch,
              ElementsAre(MemoryRange{TestHandover::kMemory, 0x10000}));
}

TEST_F(RunningKernelTest, ReadsTheMemoryDeviceWhereThereIsNoKcore) {
  std::ofstream(paths_.iomem) << absl::StrFormat(
      "00000000-00000fff : Reserved\n%08x-%08x : System RAM\n  01000000-010fffff : Kernel code\n"
      "nonsense\n-: System RAM\n",
      TestHandover::kMemory, TestHandover::kMemory + TestHandover::kMemorySize - 1);
  std::string device(TestHandover::kMemory, '\0');
  const auto& bytes = handover_.memory().bytes();
  device.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  Write(paths_.mem, device);
  auto kernel = ReadRunningKernel(std::nullopt, paths_);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  ASSERT_THAT(kernel->report.handovers, SizeIs(1));
  EXPECT_THAT(kernel->report.handovers[0].problems.kept(), ElementsAre());
  EXPECT_EQ(kernel->report.memory_bytes, TestHandover::kMemorySize);
  EXPECT_EQ(kernel->report.source, "this kernel, by " + paths_.mem);
}

TEST_F(RunningKernelTest, TellsWhatCameInFromWhatGoesOut) {
  Write(paths_.kcore, handover_.AsElfCore());
  auto kernel = ReadRunningKernel(std::nullopt, paths_);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_THAT(kernel->report.handovers[0].origin, HasSubstr("goes out"));
  for (const char* entry : {"", "/0", "/1", "/2"}) {
    mkdir((paths_.setup_data + entry).c_str(), 0755);
  }
  std::ofstream(paths_.setup_data + "/0/type") << "0x9\n";
  std::ofstream(paths_.setup_data + "/1/type") << "0xa\n";
  std::ofstream(paths_.setup_data + "/1/data") << "too short";
  std::ofstream(paths_.setup_data + "/2/type") << "0xa\n";
  Write(paths_.setup_data + "/2/data", BytesOf(abi::KhoData{.root_address = handover_.tree()}));
  kernel = ReadRunningKernel(std::nullopt, paths_);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  EXPECT_THAT(kernel->report.handovers[0].origin, HasSubstr("came in"));
}

TEST_F(RunningKernelTest, DebugfsAloneShowsWhatItCan) {
  WriteDebugfs("out", Tree());
  auto kernel = ReadRunningKernel(std::nullopt, paths_);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  ASSERT_THAT(kernel->report.handovers, SizeIs(1));
  const HandoverReport& handover = kernel->report.handovers[0];
  EXPECT_EQ(handover.compatible, "kho-v4");
  EXPECT_EQ(handover.luo->number, 3u);
  EXPECT_EQ(handover.kexec->count, 5u);
  EXPECT_THAT(handover.subtrees, SizeIs(2));
  EXPECT_EQ(kernel->memory, nullptr);
  EXPECT_THAT(kernel->report.notes, Contains(HasSubstr("CONFIG_PROC_KCORE")));
}

TEST_F(RunningKernelTest, ATreeThatDebugfsCutsOffIsTold) {
  WriteDebugfs("out", Tree().substr(0, 100));
  auto kernel = ReadRunningKernel(std::nullopt, paths_);
  ASSERT_TRUE(kernel.ok()) << kernel.status();
  const HandoverReport& handover = kernel->report.handovers[0];
  EXPECT_THAT(handover.problems.kept(), ElementsAre(HasSubstr("of which 100 are there")));
  EXPECT_EQ(handover.luo->number, 3u);
}

TEST_F(RunningKernelTest, WhereNothingCanBeSeenItSaysWhatIsMissing) {
  auto kernel = ReadRunningKernel(std::nullopt, paths_);
  ASSERT_FALSE(kernel.ok());
  EXPECT_THAT(kernel.status().message(), HasSubstr("CONFIG_PROC_KCORE"));
  EXPECT_THAT(kernel.status().message(), HasSubstr("CONFIG_KEXEC_HANDOVER_DEBUGFS"));
  EXPECT_THAT(kernel.status().message(), Not(HasSubstr("\n")));
}

TEST_F(RunningKernelTest, ACrashKernelPointsToTheOtherOnesMemory) {
  handover_.Poke<uint32_t>(handover_.tree(), 0);
  Write(paths_.kcore, handover_.AsElfCore());
  const std::string hint = "luoctl inspect " + paths_.vmcore;
  EXPECT_THAT(ReadRunningKernel(std::nullopt, paths_).status().message(),
              AllOf(HasSubstr("no handover is in memory"), Not(HasSubstr(hint))));
  Write(paths_.vmcore, std::string());
  EXPECT_THAT(ReadRunningKernel(std::nullopt, paths_).status().message(), HasSubstr(hint));
}

TEST_F(RunningKernelTest, AMemoryDeviceThatRefusesIsNotTaken) {
  std::ofstream(paths_.iomem) << "00000000-00000000 : System RAM\n";
  Write(paths_.mem, std::string("x"));
  EXPECT_FALSE(ReadRunningKernel(std::nullopt, paths_).ok());
  std::ofstream(paths_.iomem) << "01000000-01ffffff : System RAM\n";
  auto kernel = ReadRunningKernel(std::nullopt, paths_);
  EXPECT_FALSE(kernel.ok());
}

}  // namespace
}  // namespace luo
