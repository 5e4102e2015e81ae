// Nvme: a driver of an NVMe controller with one I/O queue that only reads, 4096 bytes a command,
// each command into a buffer of its own.
//
// All its state beyond its arena is `NvmeState`, so it can be taken up by another process, or
// another kernel, with commands in flight.
//
// Registers and structures: NVM Express Base Specification 1.4, chapters 3, 4 and 5.
#ifndef TESTS_SUPPORT_VFIO_NVME_H_
#define TESTS_SUPPORT_VFIO_NVME_H_

#include <stdint.h>

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "devices/vfio/pci_sysfs.h"
#include "devices/vfio/vfio_region.h"
#include "tests/support/vfio/dma_arena.h"

namespace vmm {

// QEMU's.
inline constexpr PciId kNvmeId = {.vendor = 0x1b36, .device = 0x0010};

inline constexpr uint32_t kNvmeEntries = 64;  // of the I/O queues
inline constexpr uint64_t kNvmeBlock = 4096;  // bytes a command
inline constexpr uint64_t kNvmeArenaBytes = 0x10000 + kNvmeEntries * kNvmeBlock;

struct NvmeState {
  uint32_t submitted = 0;  // I/O commands so far
  uint32_t completed = 0;
  uint32_t admin = 0;  // admin commands so far, all completed
  uint32_t doorbell_stride = 4;
};

class Nvme {
 public:
  Nvme(MappedRegion registers, const DmaArena* arena, NvmeState state)
      : registers_(std::move(registers)), arena_(arena), state_(state) {}

  // Resets the controller, and makes its queues. Interrupts of the I/O queue are MSI-X vector 1.
  absl::Status Start();
  // Reads the block into buffer number `submitted % kNvmeEntries`. There must be fewer than
  // kNvmeEntries - 1 commands in flight.
  absl::Status SubmitRead(uint64_t block);
  // The buffer of the next command that completed, in whatever order; kDataLoss where it failed.
  absl::StatusOr<std::optional<uint32_t>> Reap();
  // How many completions lie in the queue; touches memory only.
  uint32_t Waiting() const;

  uint8_t* Buffer(uint32_t index) const;
  const NvmeState& state() const { return state_; }
  uint32_t in_flight() const { return state_.submitted - state_.completed; }

 private:
  bool Done(uint32_t completion) const;
  // Waits until the controller is, or is not, ready.
  absl::Status WaitReady(bool ready);
  absl::Status Admin(uint8_t opcode, uint64_t buffer, uint32_t dword10, uint32_t dword11);
  uint64_t Doorbell(uint32_t queue, bool completion) const {
    return 0x1000 + (2 * queue + (completion ? 1 : 0)) * state_.doorbell_stride;
  }

  MappedRegion registers_;
  const DmaArena* arena_;
  NvmeState state_;
};

}  // namespace vmm

#endif  // TESTS_SUPPORT_VFIO_NVME_H_
