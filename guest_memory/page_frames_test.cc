#include "guest_memory/page_frames.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/capability.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <thread>
#include <vector>

namespace vmm {
namespace {

using ::testing::IsEmpty;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kPage = 4096;
constexpr GuestRange kRange = {GuestAddress(0), 4 * kMiB};
#ifndef MADV_COLLAPSE
constexpr int MADV_COLLAPSE = 25;  // uapi/asm-generic/mman-common.h, Linux 6.1
#endif

bool HasSysAdmin() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  return (data[0].effective & (1u << CAP_SYS_ADMIN)) != 0;
}

// For the calling thread only.
bool DropSysAdmin() {
  __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  __user_cap_data_struct data[2] = {};
  if (syscall(SYS_capget, &header, data) != 0) return false;
  data[0].effective &= ~(1u << CAP_SYS_ADMIN);
  return syscall(SYS_capset, &header, data) == 0;
}

TEST(ReadPageFramesTest, UntouchedRamHasNone) {
  absl::StatusOr<MemfdRegion> region = MemfdRegion::Create(kRange, HugePages::kOff);
  ASSERT_TRUE(region.ok()) << region.status();
  absl::StatusOr<std::vector<FrameRun>> runs = ReadPageFrames(*region);
  ASSERT_TRUE(runs.ok()) << runs.status();
  EXPECT_THAT(*runs, IsEmpty());
  EXPECT_EQ(*HugeMappedBytes(*region), 0u);
}

TEST(ReadPageFramesTest, CoversTouchedPagesAndSkipsTheRest) {
  if (!HasSysAdmin()) GTEST_SKIP() << "page frame numbers take CAP_SYS_ADMIN";
  absl::StatusOr<MemfdRegion> region = MemfdRegion::Create(kRange, HugePages::kOff);
  ASSERT_TRUE(region.ok()) << region.status();
  for (uint64_t page : {3, 4, 5, 1023}) region->host_address()[page * kPage] = 1;

  absl::StatusOr<std::vector<FrameRun>> runs = ReadPageFrames(*region);
  ASSERT_TRUE(runs.ok()) << runs.status();
  std::vector<uint64_t> pages;
  for (const FrameRun& run : *runs) {
    EXPECT_NE(run.pfn, 0u);
    for (uint64_t i = 0; i < run.pages; ++i) pages.push_back(run.page_index + i);
  }
  EXPECT_THAT(pages, testing::ElementsAre(3, 4, 5, 1023));
}

TEST(ReadPageFramesTest, AnotherMappingOfTheSameRamHasTheSameFrames) {
  if (!HasSysAdmin()) GTEST_SKIP() << "page frame numbers take CAP_SYS_ADMIN";
  absl::StatusOr<MemfdRegion> first = MemfdRegion::Create(kRange, HugePages::kOff);
  ASSERT_TRUE(first.ok()) << first.status();
  absl::StatusOr<MemfdRegion> second = MemfdRegion::FromFd(kRange, UniqueFd(dup(first->fd())));
  ASSERT_TRUE(second.ok()) << second.status();
  for (uint8_t* host : {first->host_address(), second->host_address()}) {
    ASSERT_EQ(madvise(host, kRange.size, MADV_POPULATE_WRITE), 0) << errno;
  }
  absl::StatusOr<std::vector<FrameRun>> runs = ReadPageFrames(*first);
  ASSERT_TRUE(runs.ok()) << runs.status();
  EXPECT_FALSE(runs->empty());
  EXPECT_EQ(*runs, *ReadPageFrames(*second));
}

TEST(ReadPageFramesTest, SaysThatACapabilityIsMissing) {
  absl::StatusOr<MemfdRegion> region = MemfdRegion::Create(kRange, HugePages::kOff);
  ASSERT_TRUE(region.ok()) << region.status();
  region->host_address()[0] = 1;
  std::thread unprivileged([&] {
    ASSERT_TRUE(DropSysAdmin());
    EXPECT_EQ(ReadPageFrames(*region).status().code(), absl::StatusCode::kPermissionDenied);
  });
  unprivileged.join();
}

// MADV_COLLAPSE makes huge pages whatever the host's setting.
TEST(HugeMappedBytesTest, CountsHugePagesOfThisRegionOnly) {
  absl::StatusOr<MemfdRegion> huge = MemfdRegion::Create(kRange, HugePages::kAuto);
  ASSERT_TRUE(huge.ok()) << huge.status();
  absl::StatusOr<MemfdRegion> small = MemfdRegion::Create(kRange, HugePages::kOff);
  ASSERT_TRUE(small.ok()) << small.status();
  for (uint64_t offset = 0; offset < kRange.size; offset += kPage) {
    huge->host_address()[offset] = 1;
    small->host_address()[offset] = 1;
  }
  if (madvise(huge->host_address(), kRange.size, MADV_COLLAPSE) != 0) {
    GTEST_SKIP() << "MADV_COLLAPSE failed with errno " << errno;
  }
  EXPECT_EQ(*HugeMappedBytes(*huge), kRange.size);
  EXPECT_EQ(*HugeMappedBytes(*small), 0u);

  if (!HasSysAdmin()) return;
  absl::StatusOr<std::vector<FrameRun>> runs = ReadPageFrames(*huge);
  ASSERT_TRUE(runs.ok()) << runs.status();
  for (const FrameRun& run : *runs) EXPECT_EQ(run.pages % 512, 0u);
}

}  // namespace
}  // namespace vmm
