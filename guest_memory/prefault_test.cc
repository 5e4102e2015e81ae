#include "guest_memory/prefault.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include <algorithm>
#include <vector>

#include "guest_memory/memfd_region.h"

namespace vmm {
namespace {

constexpr size_t kMiB = size_t{1} << 20;

MemfdRegion MakeRegion(size_t size) {
  return *MemfdRegion::Create({GuestAddress(0), size}, HugePages::kOff);
}

absl::Span<uint8_t> Ram(const MemfdRegion& region) {
  return absl::MakeSpan(region.host_address(), region.range().size);
}

uint64_t AllocatedBytes(const MemfdRegion& region) {
  struct stat stat;
  if (fstat(region.fd(), &stat) != 0) return 0;
  return stat.st_blocks * uint64_t{512};
}

TEST(PrefaultTest, AllocatesAllPagesAndKeepsTheirContents) {
  const MemfdRegion a = MakeRegion(65 * kMiB);  // more than a chunk, and not a multiple of one
  const MemfdRegion b = MakeRegion(4096);
  a.host_address()[5000] = 7;
  ASSERT_LT(AllocatedBytes(a), kMiB);

  std::vector<uint64_t> progress;
  const absl::Status status = Prefault({Ram(a), Ram(b)}, 3, [&](uint64_t done) {
    progress.push_back(done);
    return absl::OkStatus();
  });
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(AllocatedBytes(a), 65 * kMiB);
  EXPECT_EQ(AllocatedBytes(b), 4096u);
  EXPECT_EQ(a.host_address()[5000], 7);

  ASSERT_EQ(progress.size(), 3u);
  EXPECT_TRUE(std::is_sorted(progress.begin(), progress.end()));
  EXPECT_EQ(progress.back(), 65 * kMiB + 4096);
}

TEST(PrefaultTest, TakesMoreThreadsThanChunksAndNoProgress) {
  const MemfdRegion region = MakeRegion(8192);
  ASSERT_TRUE(Prefault({Ram(region)}, 64, nullptr).ok());
  EXPECT_EQ(AllocatedBytes(region), 8192u);
}

TEST(PrefaultTest, StopsWhereProgressSaysSo) {
  const MemfdRegion region = MakeRegion(256 * kMiB);  // four chunks
  const absl::Status status = Prefault({Ram(region)}, 1, [](uint64_t done) {
    return done > 64 * kMiB ? absl::CancelledError("enough") : absl::OkStatus();
  });
  EXPECT_EQ(status, absl::CancelledError("enough"));
  EXPECT_EQ(AllocatedBytes(region), 128 * kMiB);
}

TEST(PrefaultTest, NothingToDoIsFine) { EXPECT_TRUE(Prefault({}, 1, nullptr).ok()); }

TEST(PrefaultTest, RefusesNoThreads) {
  const MemfdRegion region = MakeRegion(4096);
  EXPECT_EQ(Prefault({Ram(region)}, 0, nullptr).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(Prefault({Ram(region)}, -1, nullptr).code(), absl::StatusCode::kInvalidArgument);
}

// A page past the file's end stands in for one that the host cannot allocate: either fault would
// raise SIGBUS.
TEST(PrefaultTest, SaysWhenTheHostHasNoMemory) {
  UniqueFd empty(memfd_create("empty", MFD_CLOEXEC));
  ASSERT_TRUE(empty.valid());
  void* mapping = mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, empty.get(), 0);
  ASSERT_NE(mapping, MAP_FAILED);
  int calls = 0;
  const absl::Status status =
      Prefault({absl::MakeSpan(static_cast<uint8_t*>(mapping), 4096)}, 1, [&](uint64_t) {
        ++calls;
        return absl::OkStatus();
      });
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(calls, 0);
  munmap(mapping, 4096);
}

TEST(TouchPagesTest, AllocatesAllPagesAndKeepsTheirContents) {
  const MemfdRegion region = MakeRegion(3 * 4096);
  region.host_address()[4096] = 7;
  TouchPages(Ram(region));
  EXPECT_EQ(AllocatedBytes(region), 3u * 4096);
  EXPECT_EQ(region.host_address()[4096], 7);
}

}  // namespace
}  // namespace vmm
