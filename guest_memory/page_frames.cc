#include "guest_memory/page_frames.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <string>

#include "absl/status/status.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace vmm {
namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kPresent = uint64_t{1} << 63;
constexpr uint64_t kPfnMask = (uint64_t{1} << 55) - 1;
constexpr size_t kEntriesPerRead = size_t{64} << 10;  // 256 MiB of RAM

void AppendPage(uint64_t page_index, uint64_t pfn, std::vector<FrameRun>& runs) {
  if (!runs.empty()) {
    FrameRun& last = runs.back();
    if (last.page_index + last.pages == page_index && last.pfn + last.pages == pfn) {
      ++last.pages;
      return;
    }
  }
  runs.push_back({page_index, pfn, 1});
}

}  // namespace

absl::StatusOr<std::vector<FrameRun>> ReadPageFrames(const MemfdRegion& region) {
  UniqueFd pagemap(open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC));
  if (!pagemap.valid()) return ErrnoStatus(errno, "/proc/self/pagemap");
  const uint64_t first = reinterpret_cast<uintptr_t>(region.host_address()) / kPageSize;
  const uint64_t pages = region.range().size / kPageSize;

  std::vector<FrameRun> runs;
  std::vector<uint64_t> entries(std::min<uint64_t>(pages, kEntriesPerRead));
  for (uint64_t page = 0; page < pages;) {
    const size_t wanted = std::min<uint64_t>(pages - page, entries.size());
    const ssize_t bytes = pread(pagemap.get(), entries.data(), wanted * sizeof(uint64_t),
                                static_cast<off_t>((first + page) * sizeof(uint64_t)));
    if (bytes < 0) return ErrnoStatus(errno, "/proc/self/pagemap");
    const size_t count = static_cast<size_t>(bytes) / sizeof(uint64_t);
    if (count == 0) return absl::InternalError("/proc/self/pagemap ends within guest RAM");
    for (size_t i = 0; i < count; ++i) {
      if ((entries[i] & kPresent) == 0) continue;
      const uint64_t pfn = entries[i] & kPfnMask;
      if (pfn == 0) {
        return absl::PermissionDeniedError(
            "/proc/self/pagemap hides page frame numbers: CAP_SYS_ADMIN is needed");
      }
      AppendPage(page + i, pfn, runs);
    }
    page += count;
  }
  return runs;
}

absl::StatusOr<uint64_t> HugeMappedBytes(const MemfdRegion& region) {
  std::ifstream smaps("/proc/self/smaps");
  if (!smaps) return absl::UnavailableError("/proc/self/smaps cannot be read");
  const uint64_t region_start = reinterpret_cast<uintptr_t>(region.host_address());
  const uint64_t region_end = region_start + region.range().size;

  uint64_t huge_bytes = 0;
  bool in_region = false;
  for (std::string line; std::getline(smaps, line);) {
    uint64_t start, end, kilobytes;
    if (sscanf(line.c_str(), "%" SCNx64 "-%" SCNx64 " ", &start, &end) == 2) {
      in_region = start >= region_start && end <= region_end;
    } else if (in_region && sscanf(line.c_str(), "ShmemPmdMapped: %" SCNu64, &kilobytes) == 1) {
      huge_bytes += kilobytes * 1024;
    }
  }
  return huge_bytes;
}

}  // namespace vmm
