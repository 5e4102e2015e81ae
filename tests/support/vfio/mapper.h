// What makes a page table change all the time, and for a long time.
//
//   Mapper mapper(ioas, arena);                     // maps and unmaps, until it goes
//   SlowMapping mapping(ioas, "/dev/nvme0n1", 0);   // one map request that takes seconds
//   RETURN_IF_ERROR(mapping.Begin());
//   ...
//   RETURN_IF_ERROR(mapping.End());
#ifndef TESTS_SUPPORT_VFIO_MAPPER_H_
#define TESTS_SUPPORT_VFIO_MAPPER_H_

#include <stdint.h>

#include <atomic>
#include <string>
#include <thread>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "devices/vfio/iommu_fd.h"
#include "tests/support/vfio/dma_arena.h"

namespace vmm {

// A thread that maps and unmaps a page of `arena`, in as many places as the kernel lets it.
class Mapper {
 public:
  // Both must outlive this.
  Mapper(Ioas& ioas, const DmaArena& arena);
  Mapper(const Mapper&) = delete;
  Mapper& operator=(const Mapper&) = delete;
  ~Mapper();

  // How often it did so, or the error that ended it.
  absl::StatusOr<uint64_t> Rounds() const;

 private:
  void Run(Ioas& ioas, const DmaArena& arena);

  std::atomic<bool> stop_ = false;
  std::atomic<bool> failed_ = false;
  std::atomic<uint64_t> rounds_ = 0;
  absl::Status status_;  // written before failed_, and read after it
  std::thread thread_;
};

// A thread that maps 32 pages of a file that is slow to read, the `part`th such 32; the kernel
// reads them while it maps.
class SlowMapping {
 public:
  // `ioas` must outlive this.
  SlowMapping(Ioas& ioas, const std::string& path, int part);
  SlowMapping(const SlowMapping&) = delete;
  SlowMapping& operator=(const SlowMapping&) = delete;
  ~SlowMapping();

  // Waits until the kernel has read one page: from then on it holds on to the address space.
  absl::Status Begin();
  // Whether all is mapped, or it failed.
  bool done() const { return done_; }
  // Waits until all is mapped, and unmaps it.
  absl::Status End();

 private:
  absl::Status Map(Ioas& ioas, const std::string& path, int part);
  absl::Status MapSlowly(Ioas& ioas, const std::string& path, int part);

  std::atomic<bool> done_ = false;
  std::atomic<void*> memory_ = nullptr;  // the pages of the file; null before
  absl::Status status_;
  std::thread thread_;
};

}  // namespace vmm

#endif  // TESTS_SUPPORT_VFIO_MAPPER_H_
