#include "guest_memory/memfd_region.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/memfd.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <string>
#include <utility>

namespace vmm {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kTiB = uint64_t{1} << 40;
constexpr int kRamSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
#ifndef F_SEAL_EXEC
constexpr int F_SEAL_EXEC = 0x20;  // uapi/linux/fcntl.h, which cannot be included beside <fcntl.h>
#endif

absl::StatusOr<MemfdRegion> Create(uint64_t start, uint64_t size) {
  return MemfdRegion::Create({GuestAddress(start), size}, HugePages::kOff);
}

UniqueFd SealedMemfd(uint64_t size, int seals) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  EXPECT_EQ(ftruncate(fd.get(), size), 0);
  EXPECT_EQ(fcntl(fd.get(), F_ADD_SEALS, seals), 0);
  return fd;
}

uint64_t AllocatedBytes(int fd) {
  struct stat stat;
  EXPECT_EQ(fstat(fd, &stat), 0);
  return stat.st_blocks * uint64_t{512};
}

// The VmFlags line of /proc/self/smaps for the mapping that starts at `address`.
std::string VmFlags(const void* address) {
  std::ifstream smaps("/proc/self/smaps");
  char start[32];
  snprintf(start, sizeof(start), "%lx-", reinterpret_cast<unsigned long>(address));
  bool found = false;
  for (std::string line; std::getline(smaps, line);) {
    if (line.rfind(start, 0) == 0) found = true;
    if (found && line.rfind("VmFlags:", 0) == 0) return line + " ";
  }
  return "";
}

bool IsMapped(const void* address) { return !VmFlags(address).empty(); }

// A directory that looks like the kernel's, with `setting` selected.
std::string FakeTransparentHugepageDir(const std::string& setting) {
  const std::string directory = testing::TempDir() + "/thp-" + setting;
  std::filesystem::create_directories(directory);
  std::ofstream(directory + "/shmem_enabled") << "[" << setting << "]\n";
  return directory;
}

TEST(MemfdRegionTest, IsZeroedSparseAndWritable) {
  absl::StatusOr<MemfdRegion> region = Create(0, 64 * kMiB);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(region->range(), (GuestRange{GuestAddress(0), 64 * kMiB}));
  EXPECT_EQ(AllocatedBytes(region->fd()), 0u);
  uint8_t* last = region->host_address() + 64 * kMiB - 1;
  EXPECT_EQ(*last, 0);
  *last = 9;
  uint8_t read_back = 0;
  ASSERT_EQ(pread(region->fd(), &read_back, 1, 64 * kMiB - 1), 1);
  EXPECT_EQ(read_back, 9);
}

TEST(MemfdRegionTest, CountsWhatIsAllocated) {
  absl::StatusOr<MemfdRegion> region = Create(0, 64 * kMiB);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(*region->AllocatedBytes(), 0u);
  region->host_address()[8 * kMiB] = 1;
  const uint64_t allocated = *region->AllocatedBytes();
  EXPECT_GE(allocated, 4096u);
  EXPECT_LE(allocated, 4 * kMiB);
  EXPECT_EQ(allocated, AllocatedBytes(region->fd()));
}

TEST(MemfdRegionTest, IsAlignedForHugePagesWhateverTheSize) {
  for (uint64_t size : {uint64_t{4096}, 2 * kMiB, 2 * kMiB + 4096, 7 * kMiB}) {
    absl::StatusOr<MemfdRegion> region = Create(4 * kMiB, size);
    ASSERT_TRUE(region.ok()) << region.status();
    EXPECT_EQ(reinterpret_cast<uintptr_t>(region->host_address()) % (2 * kMiB), 0u) << size;
  }
}

TEST(MemfdRegionTest, RefusesRangesThatCannotBe) {
  const struct {
    uint64_t start, size;
  } kBad[] = {
      {0, 0},                      // empty
      {0, 4095},                   // not whole pages
      {4096, 4096},                // not 2 MiB aligned
      {0, kMaxRegionSize + 4096},  // too large
      {0, kTiB},                   // what the kernel cannot preserve
      {0, UINT64_MAX & ~uint64_t{4095}},
      {0 - 2 * kMiB, 4 * kMiB},  // wraps
  };
  for (const auto& bad : kBad) {
    EXPECT_EQ(Create(bad.start, bad.size).status().code(), absl::StatusCode::kInvalidArgument)
        << std::hex << bad.start << " " << bad.size;
    EXPECT_EQ(MemfdRegion::FromFd({GuestAddress(bad.start), bad.size}, UniqueFd()).status().code(),
              absl::StatusCode::kInvalidArgument)
        << std::hex << bad.start << " " << bad.size;
  }
}

TEST(MemfdRegionTest, LargestRegionIsSparse) {
  absl::StatusOr<MemfdRegion> region = Create(uint64_t{4} << 30, kMaxRegionSize);
  ASSERT_TRUE(region.ok()) << region.status();
  region->host_address()[kMaxRegionSize - 1] = 1;
  EXPECT_LE(AllocatedBytes(region->fd()), 2 * kMiB);
}

TEST(MemfdRegionTest, BearsExactlyTheSealsThatSurvive) {
  absl::StatusOr<MemfdRegion> region = Create(0, 2 * kMiB);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(fcntl(region->fd(), F_GET_SEALS), kRamSeals);
}

TEST(MemfdRegionTest, SealsAreEnforced) {
  absl::StatusOr<MemfdRegion> region = Create(0, 2 * kMiB);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(ftruncate(region->fd(), kMiB), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(ftruncate(region->fd(), 4 * kMiB), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(fcntl(region->fd(), F_ADD_SEALS, F_SEAL_WRITE), -1);
  EXPECT_EQ(errno, EPERM);
}

TEST(MemfdRegionTest, ClosesOnExecAndStaysOutOfCoreDumps) {
  absl::StatusOr<MemfdRegion> region = Create(0, 2 * kMiB);
  ASSERT_TRUE(region.ok()) << region.status();
  EXPECT_EQ(fcntl(region->fd(), F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  EXPECT_THAT(VmFlags(region->host_address()), HasSubstr(" dd "));
}

TEST(MemfdRegionTest, AdvisesAsAsked) {
  if (access(kTransparentHugepageDir, F_OK) != 0) GTEST_SKIP() << "kernel without huge pages";
  const GuestRange range = {GuestAddress(0), 2 * kMiB};
  absl::StatusOr<MemfdRegion> off = MemfdRegion::Create(range, HugePages::kOff);
  ASSERT_TRUE(off.ok()) << off.status();
  EXPECT_THAT(VmFlags(off->host_address()), HasSubstr(" nh "));
  absl::StatusOr<MemfdRegion> automatic = MemfdRegion::Create(range, HugePages::kAuto);
  ASSERT_TRUE(automatic.ok()) << automatic.status();
  EXPECT_THAT(VmFlags(automatic->host_address()), HasSubstr(" hg "));
}

TEST(MemfdRegionTest, HostThatGivesHugePagesIsNotNoted) {
  const std::string directory = FakeTransparentHugepageDir("advise");
  for (HugePages mode : {HugePages::kAuto, HugePages::kOn, HugePages::kOff}) {
    absl::StatusOr<MemfdRegion> region =
        MemfdRegion::Create({GuestAddress(0), 2 * kMiB}, mode, directory);
    ASSERT_TRUE(region.ok()) << region.status();
    EXPECT_THAT(region->huge_pages_note(), IsEmpty());
  }
}

TEST(MemfdRegionTest, HostThatRefusesHugePagesIsNotedOrAnError) {
  const std::string directory = FakeTransparentHugepageDir("never");
  const GuestRange range = {GuestAddress(0), 2 * kMiB};
  absl::StatusOr<MemfdRegion> automatic = MemfdRegion::Create(range, HugePages::kAuto, directory);
  ASSERT_TRUE(automatic.ok()) << automatic.status();
  EXPECT_THAT(automatic->huge_pages_note(), HasSubstr("echo advise > " + directory));

  absl::Status on = MemfdRegion::Create(range, HugePages::kOn, directory).status();
  EXPECT_EQ(on.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(on.message(), automatic->huge_pages_note());

  absl::StatusOr<MemfdRegion> off = MemfdRegion::Create(range, HugePages::kOff, directory);
  ASSERT_TRUE(off.ok()) << off.status();
  EXPECT_THAT(off->huge_pages_note(), IsEmpty());
}

TEST(MemfdRegionTest, MovesOwnershipAndUnmapsOnce) {
  absl::StatusOr<MemfdRegion> made = Create(0, 2 * kMiB);
  ASSERT_TRUE(made.ok()) << made.status();
  uint8_t* const first = made->host_address();
  {
    MemfdRegion region = *std::move(made);
    EXPECT_EQ(made->host_address(), nullptr);
    EXPECT_EQ(made->fd(), -1);
    EXPECT_EQ(region.host_address(), first);

    absl::StatusOr<MemfdRegion> other = Create(4 * kMiB, 4 * kMiB);
    ASSERT_TRUE(other.ok()) << other.status();
    uint8_t* const second = other->host_address();
    region = *std::move(other);
    EXPECT_FALSE(IsMapped(first));
    EXPECT_EQ(region.host_address(), second);
    EXPECT_EQ(region.range(), (GuestRange{GuestAddress(4 * kMiB), 4 * kMiB}));
    MemfdRegion& same = region;
    region = std::move(same);
    EXPECT_TRUE(IsMapped(second));
    made = std::move(region);
  }
  uint8_t* const second = made->host_address();
  EXPECT_TRUE(IsMapped(second));
  made = absl::CancelledError();
  EXPECT_FALSE(IsMapped(second));
}

TEST(MemfdRegionFromFdTest, SeesTheSameRamAndTouchesNone) {
  const GuestRange range = {GuestAddress(0), 4 * kMiB};
  absl::StatusOr<MemfdRegion> before = MemfdRegion::Create(range, HugePages::kOff);
  ASSERT_TRUE(before.ok()) << before.status();
  before->host_address()[3 * kMiB] = 42;
  const uint64_t allocated = AllocatedBytes(before->fd());

  absl::StatusOr<MemfdRegion> after = MemfdRegion::FromFd(range, UniqueFd(dup(before->fd())));
  ASSERT_TRUE(after.ok()) << after.status();
  EXPECT_EQ(AllocatedBytes(after->fd()), allocated);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(after->host_address()) % (2 * kMiB), 0u);
  EXPECT_EQ(after->range(), range);
  EXPECT_THAT(VmFlags(after->host_address()), HasSubstr(" dd "));
  EXPECT_EQ(after->host_address()[3 * kMiB], 42);
  after->host_address()[0] = 43;
  EXPECT_EQ(before->host_address()[0], 43);
}

TEST(MemfdRegionFromFdTest, RefusesAnotherSize) {
  for (uint64_t size : {2 * kMiB - 4096, 2 * kMiB + 1, 2 * kMiB + 4096, uint64_t{0}}) {
    absl::Status status =
        MemfdRegion::FromFd({GuestAddress(0), 2 * kMiB}, SealedMemfd(size, kRamSeals)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << size;
    EXPECT_THAT(status.message(), HasSubstr("measures")) << size;
  }
}

TEST(MemfdRegionFromFdTest, RefusesMissingSeals) {
  for (int seals :
       {0, F_SEAL_SHRINK | F_SEAL_GROW, F_SEAL_SHRINK | F_SEAL_SEAL, F_SEAL_GROW | F_SEAL_SEAL}) {
    absl::Status status =
        MemfdRegion::FromFd({GuestAddress(0), 2 * kMiB}, SealedMemfd(2 * kMiB, seals)).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << seals;
    EXPECT_THAT(status.message(), HasSubstr("bears seals")) << seals;
  }
}

TEST(MemfdRegionFromFdTest, RefusesWriteSeals) {
  for (int seal : {F_SEAL_WRITE, F_SEAL_FUTURE_WRITE}) {
    absl::Status status =
        MemfdRegion::FromFd({GuestAddress(0), 2 * kMiB}, SealedMemfd(2 * kMiB, kRamSeals | seal))
            .status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << seal;
    EXPECT_THAT(status.message(), HasSubstr("sealed against writing")) << seal;
  }
}

// Why RAM must not bear F_SEAL_EXEC. This is what the kernel's retrieve does with a memfd that did:
// a new executable file, the old one's seals.
TEST(MemfdRegionFromFdTest, RefusesWhatAnExecSealBecomesAcrossALiveUpdate) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_EXEC));
  if (!fd.valid() && errno == EINVAL) GTEST_SKIP() << "kernel before 6.3, without F_SEAL_EXEC";
  ASSERT_TRUE(fd.valid()) << errno;
  ASSERT_EQ(ftruncate(fd.get(), 2 * kMiB), 0);
  ASSERT_EQ(fcntl(fd.get(), F_ADD_SEALS, kRamSeals | F_SEAL_EXEC), 0);
  absl::Status status = MemfdRegion::FromFd({GuestAddress(0), 2 * kMiB}, std::move(fd)).status();
  EXPECT_THAT(status.message(), HasSubstr("sealed against writing"));
}

TEST(MemfdRegionFromFdTest, RefusesWhatIsNoMemfd) {
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd other_end(ends[1]);
  absl::Status status =
      MemfdRegion::FromFd({GuestAddress(0), 2 * kMiB}, UniqueFd(ends[0])).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(status.message(), HasSubstr("not in a memfd"));
  EXPECT_EQ(fcntl(ends[0], F_GETFD), -1) << "the refused fd is closed";

  EXPECT_FALSE(MemfdRegion::FromFd({GuestAddress(0), 2 * kMiB}, UniqueFd()).ok());
}

TEST(MemfdRegionFromFdTest, RefusesAReadOnlyDescriptor) {
  UniqueFd writable = SealedMemfd(2 * kMiB, kRamSeals);
  const std::string path = "/proc/self/fd/" + std::to_string(writable.get());
  UniqueFd read_only(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  ASSERT_TRUE(read_only.valid());
  absl::Status status =
      MemfdRegion::FromFd({GuestAddress(0), 2 * kMiB}, std::move(read_only)).status();
  EXPECT_THAT(status.message(), HasSubstr("mapping guest RAM"));
}

}  // namespace
}  // namespace vmm
