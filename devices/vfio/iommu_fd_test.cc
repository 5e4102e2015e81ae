#include "devices/vfio/iommu_fd.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "gtest/gtest.h"

namespace vmm {
namespace {

bool Says(const absl::Status& status, absl::string_view text) {
  return status.message().find(text) != absl::string_view::npos;
}

// Objects of a context that is none: what leaves this process at all fails, and says so.
std::shared_ptr<const UniqueFd> NoContext() {
  return std::make_shared<const UniqueFd>(open("/dev/null", O_RDWR | O_CLOEXEC));
}

TEST(IommuFdTest, SaysWhatIsMissingWhereThereIsNoIommufd) {
  const absl::Status status = IommuFd::Open("/nowhere/iommu").status();
  EXPECT_EQ(StatusErrno(status), ENOENT);
  EXPECT_TRUE(Says(status, "CONFIG_IOMMUFD")) << status;
}

TEST(IommuFdTest, SaysThatADescriptorIsNoIommufd) {
  const absl::StatusOr<IommuFd> iommu = IommuFd::Open("/dev/null");
  ASSERT_TRUE(iommu.ok()) << iommu.status();
  const absl::Status status = iommu->AllocateIoas().status();
  EXPECT_EQ(StatusErrno(status), ENOTTY);
  EXPECT_TRUE(Says(status, "no iommufd")) << status;
}

TEST(IommuFdTest, RangesAreWholePages) {
  EXPECT_EQ(CheckIovaRange(0, 4096), absl::OkStatus());
  EXPECT_EQ(CheckIovaRange(0, 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckIovaRange(0, 4095).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(CheckIovaRange(1, 4096).code(), absl::StatusCode::kInvalidArgument);
}

TEST(IommuFdTest, RangesEndWithTheAddressSpace) {
  EXPECT_EQ(CheckIovaRange(~uint64_t{4095}, 4096), absl::OkStatus());
  EXPECT_EQ(CheckIovaRange(~uint64_t{4095}, 8192).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(CheckIovaRange(4096, ~uint64_t{4095}), absl::OkStatus());
  EXPECT_EQ(CheckIovaRange(8192, ~uint64_t{4095}).code(), absl::StatusCode::kOutOfRange);
}

TEST(IommuFdTest, RefusesBadMappingsBeforeTheKernelDoes) {
  Ioas ioas(IommuObject(NoContext(), 1));
  for (const absl::Status& status :
       {ioas.MapFile(0, 0, 4096, 1, DmaAccess::kRead), ioas.MapFile(0, 0, 1, 0, DmaAccess::kRead),
        ioas.MapFile(0, 17, 4096, 0, DmaAccess::kRead),
        ioas.MapMemory(reinterpret_cast<void*>(0x1001), 4096, 0, DmaAccess::kRead),
        ioas.Unmap(0, 0).status()}) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(StatusErrno(status), 0) << status;
  }
}

TEST(IommuFdTest, ErrorsSayWhatWasTried) {
  Ioas ioas(IommuObject(NoContext(), 1));
  const absl::Status mapped = ioas.MapFile(5, 0, 0x2000, 0x1000, DmaAccess::kReadWrite);
  EXPECT_EQ(StatusErrno(mapped), ENOTTY);
  EXPECT_TRUE(Says(mapped, "map 0x2000 bytes at IOVA 0x1000 from descriptor 5")) << mapped;
  EXPECT_TRUE(Says(ioas.Unmap(0x1000, 0x2000).status(), "unmap 0x2000 bytes at IOVA 0x1000"));
  EXPECT_TRUE(Says(ioas.IovaRanges().status(), "list the IOVA ranges"));
}

TEST(IommuFdTest, ObjectsKeepTheirContextAndGiveItUp) {
  std::weak_ptr<const UniqueFd> context;
  {
    std::shared_ptr<const UniqueFd> owner = NoContext();
    context = owner;
    IommuObject first(owner, 1);
    IommuObject second(owner, 2);
    owner.reset();
    EXPECT_FALSE(context.expired());
    first = std::move(second);
    EXPECT_EQ(first.id(), 2u);
    EXPECT_FALSE(context.expired());
  }
  EXPECT_TRUE(context.expired());
}

}  // namespace
}  // namespace vmm
