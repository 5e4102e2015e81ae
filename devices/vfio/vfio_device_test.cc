#include "devices/vfio/vfio_device.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "gtest/gtest.h"
#include "luo_kernel/client/fake_luo.h"

namespace vmm {
namespace {

bool Says(const absl::Status& status, absl::string_view text) {
  return status.message().find(text) != absl::string_view::npos;
}

// No device: every ioctl fails with ENOTTY.
VfioDevice NoDevice() {
  return VfioDevice::FromFd(UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC)), "the device");
}

TEST(VfioDeviceTest, SaysThatNothingIsBound) {
  const absl::Status by_path = VfioDevice::OpenCdev("/nowhere/vfio0").status();
  EXPECT_EQ(StatusErrno(by_path), ENOENT);
  EXPECT_TRUE(Says(by_path, "no device is bound to a VFIO driver")) << by_path;
  const absl::Status by_address = VfioDevice::Open({.device = 2}, PciSysfs("/nowhere")).status();
  EXPECT_EQ(by_address.code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(Says(by_address, "0000:00:02.0")) << by_address;
}

TEST(VfioDeviceTest, ErrorsNameTheDeviceAndTheRequest) {
  VfioDevice device = NoDevice();
  const absl::StatusOr<IommuFd> iommu = IommuFd::Open("/dev/null");
  ASSERT_TRUE(iommu.ok());
  const Hwpt table(
      IommuObject(std::make_shared<const UniqueFd>(open("/dev/null", O_RDWR | O_CLOEXEC)), 5));
  const absl::Status bound = device.Bind(*iommu);
  EXPECT_EQ(StatusErrno(bound), ENOTTY);
  EXPECT_TRUE(Says(bound, "bind the device to an iommufd")) << bound;
  EXPECT_EQ(device.id(), 0u);
  EXPECT_TRUE(Says(device.Attach(table), "attach the device to page table 5"));
  EXPECT_TRUE(Says(device.Detach(), "detach the device"));
  EXPECT_TRUE(Says(device.Reset(), "no VFIO character device"));
  EXPECT_TRUE(Says(device.Region(3).status(), "region 3 of the device"));
  EXPECT_TRUE(Says(device.Interrupts(InterruptKind::kMsix).status(), "of the device"));
  EXPECT_TRUE(Says(device.Config().status(), "region 7 of the device"));
  EXPECT_FALSE(device.CanReset().ok());
}

TEST(VfioDeviceTest, GoesThroughASessionByItsToken) {
  luo::FakeLuo luo;
  const absl::Status ran = luo.Run([&] {
    luo::LiveUpdateSession session(luo.NewSession());
    const VfioDevice device = NoDevice();
    ASSERT_EQ(device.Preserve(session, 0x100), absl::OkStatus());
    const absl::Status again = device.Preserve(session, 0x100);
    EXPECT_EQ(again.code(), absl::StatusCode::kAlreadyExists);
    EXPECT_TRUE(Says(again, "preserve the device")) << again;
    luo.Fail(0x101, ENOENT);
    EXPECT_TRUE(Says(device.Preserve(session, 0x101), "cannot preserve VFIO devices"));
    luo.Fail(0x102, EUSERS);
    EXPECT_TRUE(Says(device.Preserve(session, 0x102), "not alone in its IOMMU group"));
    luo.Fail(0x103, ENOLINK);
    EXPECT_TRUE(Says(VfioDevice::Retrieve(session, 0x103).status(), "the IOMMU in another mode"));
  });
  if (!ran.ok()) GTEST_SKIP() << ran;
}

TEST(VfioDeviceTest, ARetrieveThatFailsSaysWhatWasRetrieved) {
  luo::LiveUpdateSession session(UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC)));
  const absl::Status status = VfioDevice::Retrieve(session, 0x100).status();
  EXPECT_TRUE(Says(status, "retrieve a VFIO device: retrieve token 0x100")) << status;
}

}  // namespace
}  // namespace vmm
