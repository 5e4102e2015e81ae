#include "devices/vfio/pci_sysfs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

#include "gtest/gtest.h"

namespace vmm {
namespace {

const PciAddress kNic = {.device = 2};

// A tree that looks like sysfs. Nothing in it acts: a bind is what was written.
class PciSysfsTest : public testing::Test {
 protected:
  void SetUp() override {
    root_ = testing::TempDir() + "/sysfs.XXXXXX";
    ASSERT_NE(mkdtemp(root_.data()), nullptr);
    Add("0000:00:02.0", "0x8086", "0x10d3");
    std::filesystem::create_directories(root_ + "/bus/pci/drivers/e1000e");
    std::filesystem::create_directories(root_ + "/bus/pci/drivers/vfio-pci");
    for (const char* file : {"drivers_probe", "drivers/e1000e/unbind", "drivers/vfio-pci/unbind"}) {
      Write(std::string("bus/pci/") + file, "");
    }
  }
  void TearDown() override { std::filesystem::remove_all(root_); }

  void Add(const std::string& address, const std::string& vendor, const std::string& device) {
    const std::string folder = "bus/pci/devices/" + address;
    std::filesystem::create_directories(root_ + "/" + folder);
    Write(folder + "/vendor", vendor + "\n");
    Write(folder + "/device", device + "\n");
    Write(folder + "/driver_override", "(null)\n");
  }
  void Write(const std::string& path, const std::string& text) {
    std::ofstream(root_ + "/" + path) << text;
  }
  std::string Read(const std::string& path) {
    std::ifstream file(root_ + "/" + path);
    return std::string(std::istreambuf_iterator<char>(file), {});
  }
  void SetDriver(const std::string& driver) {
    const std::string link = root_ + "/bus/pci/devices/0000:00:02.0/driver";
    std::filesystem::remove(link);
    std::filesystem::create_directory_symlink("../../drivers/" + driver, link);
  }
  PciSysfs sysfs() const { return PciSysfs(root_); }

  std::string root_;
};

TEST_F(PciSysfsTest, FindsAllFunctionsOfAnIdInOrder) {
  Add("0000:03:00.0", "0x8086", "0x10d3");
  Add("0000:01:00.1", "0x8086", "0x10d3");
  Add("0000:01:00.0", "0x8086", "0x10c9");
  const auto found = sysfs().Find({.vendor = 0x8086, .device = 0x10d3});
  ASSERT_TRUE(found.ok()) << found.status();
  ASSERT_EQ(found->size(), 3u);
  EXPECT_EQ((*found)[0].ToString(), "0000:00:02.0");
  EXPECT_EQ((*found)[1].ToString(), "0000:01:00.1");
  EXPECT_EQ((*found)[2].ToString(), "0000:03:00.0");
}

TEST_F(PciSysfsTest, FindsNothingWithoutError) {
  const auto found = sysfs().Find({.vendor = 0x1234, .device = 0x5678});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_TRUE(found->empty());
}

TEST_F(PciSysfsTest, PassesOverWhatIsNoFunction) {
  Add("not-a-function", "0x8086", "0x10d3");
  Add("0000:04:00.0", "garbage", "0x10d3");
  Add("0000:05:00.0", "0x18086", "0x10d3");
  const auto found = sysfs().Find({.vendor = 0x8086, .device = 0x10d3});
  ASSERT_TRUE(found.ok()) << found.status();
  EXPECT_EQ(found->size(), 1u);
}

TEST_F(PciSysfsTest, NamesTheDriver) {
  EXPECT_EQ(*sysfs().Driver(kNic), "");
  SetDriver("e1000e");
  EXPECT_EQ(*sysfs().Driver(kNic), "e1000e");
  EXPECT_EQ(sysfs().Driver({.device = 9}).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(PciSysfsTest, ReadsTheBars) {
  Write("bus/pci/devices/0000:00:02.0/resource",
        "0x00000000feb80000 0x00000000feb9ffff 0x0000000000040200\n"
        "0x0000000000000000 0x0000000000000000 0x0000000000000000\n"
        "0x0000000000000005 0x0000000000000001 0x0000000000040200\n"
        "nonsense\n");
  const absl::StatusOr<PciResource> bar = sysfs().Bar(kNic, 0);
  ASSERT_TRUE(bar.ok()) << bar.status();
  EXPECT_EQ(bar->start, 0xfeb80000u);
  EXPECT_EQ(bar->size, 0x20000u);
  EXPECT_EQ(sysfs().Bar(kNic, 1)->size, 0u);
  for (const int bad : {-1, 2, 3, 4, 5, 6}) {
    EXPECT_EQ(sysfs().Bar(kNic, bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST_F(PciSysfsTest, LeavesAFunctionThatVfioHasAndKeepsItThere) {
  SetDriver("vfio-pci");
  EXPECT_EQ(sysfs().BindToVfioPci(kNic), absl::OkStatus());
  EXPECT_EQ(Read("bus/pci/devices/0000:00:02.0/driver_override").substr(0, 9), "vfio-pci\n");
  EXPECT_EQ(Read("bus/pci/drivers_probe"), "");
}

TEST_F(PciSysfsTest, TakesAFunctionFromItsDriverAndSaysWhenVfioDoesNotTakeIt) {
  SetDriver("e1000e");
  const absl::Status status = sysfs().BindToVfioPci(kNic);
  EXPECT_EQ(Read("bus/pci/drivers/e1000e/unbind"), "0000:00:02.0");
  EXPECT_EQ(Read("bus/pci/drivers_probe"), "0000:00:02.0");
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("belongs to e1000e"), absl::string_view::npos) << status;
}

TEST_F(PciSysfsTest, GivesAFunctionBack) {
  SetDriver("vfio-pci");
  EXPECT_EQ(sysfs().ReturnToHost(kNic), absl::OkStatus());
  EXPECT_EQ(Read("bus/pci/devices/0000:00:02.0/driver_override")[0], '\n');
  EXPECT_EQ(Read("bus/pci/drivers/vfio-pci/unbind"), "0000:00:02.0");
}

TEST_F(PciSysfsTest, FindsTheCharacterDevice) {
  const absl::Status none = sysfs().VfioCdevName(kNic).status();
  EXPECT_EQ(none.code(), absl::StatusCode::kNotFound);
  EXPECT_NE(none.message().find("0000:00:02.0 is not bound"), absl::string_view::npos) << none;
  std::filesystem::create_directories(root_ + "/bus/pci/devices/0000:00:02.0/vfio-dev/vfio7");
  EXPECT_EQ(*sysfs().VfioCdevName(kNic), "vfio7");
}

}  // namespace
}  // namespace vmm
