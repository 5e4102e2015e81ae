// Prefault() where the host has no thread left to help: a program of its own, for sanitizers do not
// bear that.
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/stat.h>

#include "base/no_more_threads.h"
#include "guest_memory/memfd_region.h"
#include "guest_memory/prefault.h"

namespace vmm {
namespace {

TEST(PrefaultAloneTest, TheCallerDoesItAll) {
  constexpr uint64_t kBytes = uint64_t{256} << 20;  // four chunks
  const auto region = MemfdRegion::Create({GuestAddress(0), kBytes}, HugePages::kOff);
  ASSERT_TRUE(region.ok()) << region.status();
  absl::Status status;
  {
    NoMoreThreads none;
    status = Prefault({absl::MakeSpan(region->host_address(), kBytes)}, 4, nullptr);
  }
  ASSERT_TRUE(status.ok()) << status;
  struct stat stat;
  ASSERT_EQ(fstat(region->fd(), &stat), 0);
  EXPECT_EQ(stat.st_blocks * uint64_t{512}, kBytes);
}

}  // namespace
}  // namespace vmm
