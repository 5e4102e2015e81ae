#include "tests/support/vfio/mapper.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <array>

#include "base/status.h"
#include "base/unique_fd.h"

namespace vmm {
namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kSlowBytes = 32 * kPageSize;
constexpr uint64_t kSlowIova = 0x30'0000'0000;

}  // namespace

Mapper::Mapper(Ioas& ioas, const DmaArena& arena)
    : thread_([this, &ioas, &arena] { Run(ioas, arena); }) {}

Mapper::~Mapper() {
  stop_ = true;
  thread_.join();
}

absl::StatusOr<uint64_t> Mapper::Rounds() const {
  if (failed_) return status_;
  return rounds_;
}

void Mapper::Run(Ioas& ioas, const DmaArena& arena) {
  while (!stop_) {
    status_ = arena.MapScattered(ioas, 1);
    if (status_.ok()) status_ = arena.UnmapScattered(ioas, 1);
    if (!status_.ok()) {
      failed_ = true;
      return;
    }
    ++rounds_;
  }
}

SlowMapping::SlowMapping(Ioas& ioas, const std::string& path, int part)
    : thread_([this, &ioas, path, part] { status_ = Map(ioas, path, part); }) {}

SlowMapping::~SlowMapping() {
  if (thread_.joinable()) thread_.join();
  if (memory_ != nullptr) munmap(memory_, kSlowBytes);
}

absl::Status SlowMapping::Begin() {
  while (!done_) {
    if (memory_ != nullptr) {
      std::array<uint8_t, kSlowBytes / kPageSize> pages;
      if (mincore(memory_, kSlowBytes, pages.data()) < 0) return ErrnoStatus(errno, "mincore");
      if (std::any_of(pages.begin(), pages.end(), [](uint8_t page) { return (page & 1) != 0; })) {
        return absl::OkStatus();
      }
    }
    usleep(1000);
  }
  return End();
}

absl::Status SlowMapping::End() {
  if (thread_.joinable()) thread_.join();
  return status_;
}

absl::Status SlowMapping::Map(Ioas& ioas, const std::string& path, int part) {
  absl::Status status = MapSlowly(ioas, path, part);
  done_ = true;
  if (status.ok()) status = ioas.Unmap(kSlowIova, kSlowBytes).status();
  return status;
}

absl::Status SlowMapping::MapSlowly(Ioas& ioas, const std::string& path, int part) {
  const UniqueFd file(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, path);
  // Not from the file's start, which was read when the disk was found.
  void* const memory = mmap(nullptr, kSlowBytes, PROT_READ | PROT_WRITE, MAP_PRIVATE, file.get(),
                            (1 << 20) + part * kSlowBytes);
  if (memory == MAP_FAILED) return ErrnoStatus(errno, path);
  // One page at a time.
  madvise(memory, kSlowBytes, MADV_RANDOM);
  memory_ = memory;
  return ioas.MapMemory(memory, kSlowBytes, kSlowIova, DmaAccess::kReadWrite);
}

}  // namespace vmm
