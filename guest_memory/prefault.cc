#include "guest_memory/prefault.h"

#include <errno.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <mutex>
#include <thread>

#include "base/status.h"
#include "base/thread.h"

namespace vmm {
namespace {

constexpr size_t kPageSize = 4096;
// Small enough to share out among threads and to show progress, and a multiple of a huge page.
constexpr size_t kChunkSize = size_t{64} << 20;

absl::Status PopulatePages(absl::Span<uint8_t> range) {
  int result;
  do {
    result = madvise(range.data(), range.size(), MADV_POPULATE_WRITE);
  } while (result != 0 && errno == EINTR);
  if (result == 0) return absl::OkStatus();
  switch (errno) {
    case EINVAL:
      TouchPages(range);
      return absl::OkStatus();
    case ENOMEM:
    case EFAULT:  // the fault would have raised SIGBUS
      return absl::ResourceExhaustedError("the host has not enough memory for the guest's RAM");
    default:
      return ErrnoStatus(errno, "MADV_POPULATE_WRITE on guest RAM");
  }
}

std::vector<absl::Span<uint8_t>> SplitIntoChunks(absl::Span<const absl::Span<uint8_t>> ranges) {
  std::vector<absl::Span<uint8_t>> chunks;
  for (absl::Span<uint8_t> range : ranges) {
    for (size_t offset = 0; offset < range.size(); offset += kChunkSize) {
      chunks.push_back(range.subspan(offset, kChunkSize));
    }
  }
  return chunks;
}

}  // namespace

void TouchPages(absl::Span<uint8_t> range) {
  for (size_t offset = 0; offset < range.size(); offset += kPageSize) {
    __atomic_fetch_or(&range[offset], 0, __ATOMIC_RELAXED);
  }
}

absl::Status Prefault(absl::Span<const absl::Span<uint8_t>> ranges, int threads,
                      const PrefaultProgress& progress) {
  if (threads < 1) return absl::InvalidArgumentError("prefaulting takes at least one thread");
  const std::vector<absl::Span<uint8_t>> chunks = SplitIntoChunks(ranges);

  std::atomic<size_t> next = 0;
  std::mutex mutex;  // guards what follows, and the calls of `progress`
  uint64_t done = 0;
  absl::Status status;

  const auto work = [&] {
    for (size_t i; (i = next.fetch_add(1)) < chunks.size();) {
      absl::Status populated = PopulatePages(chunks[i]);
      std::lock_guard<std::mutex> lock(mutex);
      if (populated.ok()) {
        done += chunks[i].size();
        if (progress) populated = progress(done);
      }
      status.Update(populated);
      if (!status.ok()) next = chunks.size();  // nobody begins another
    }
  };
  const size_t helpers = std::min<size_t>(threads, chunks.size());
  std::vector<std::thread> pool;
  for (size_t i = 1; i < helpers; ++i) {
    absl::StatusOr<std::thread> thread = StartThread(work);
    // The host has none left. Those that there are, or the caller alone, do it too.
    if (!thread.ok()) break;
    pool.push_back(*std::move(thread));
  }
  work();
  for (std::thread& thread : pool) thread.join();
  return status;
}

}  // namespace vmm
