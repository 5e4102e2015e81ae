// Edu: QEMU's teaching device, whose DMA takes a tenth of a second and then raises an interrupt: so
// it can be sure to end while there is no kernel. It shares the page table of another device.
//
// Registers: QEMU 10.0, docs/specs/edu.rst. Its addresses have 28 bits, unless QEMU is told
// otherwise: -device edu,dma_mask=0xffffffffffff.
#ifndef TESTS_SUPPORT_VFIO_EDU_H_
#define TESTS_SUPPORT_VFIO_EDU_H_

#include <stdint.h>

#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "devices/vfio/iommu_fd.h"
#include "devices/vfio/vfio_device.h"
#include "tests/support/vfio/dma_arena.h"

namespace vmm {

inline constexpr PciId kEduId = {.vendor = 0x1234, .device = 0x11e8};
// What it copies out of the arena once, and into the bytes behind at each transfer.
inline constexpr uint64_t kEduBytes = 512;
inline constexpr uint64_t kEduArenaBytes = 4096;

class Edu {
 public:
  // Binds and attaches `device`, whether just opened or retrieved. Its part of `arena`,
  // kEduArenaBytes, begins at `offset`.
  static absl::StatusOr<Edu> Attach(VfioDevice device, const IommuFd& iommu, const Hwpt& table,
                                    const DmaArena* arena, uint64_t offset);

  // After power-on: lets it do DMA, and gives it the pattern.
  absl::Status Load();
  // Its interrupt arrives by this kind from now on.
  absl::Status Arm(InterruptKind kind);
  // Starts to copy the pattern back, and returns.
  absl::Status StartCopy();
  // The copy has ended, its interrupt arrives within 5 s, and the pattern is right; `what` is
  // for errors.
  absl::Status ExpectCopy(const std::string& what);

  const VfioDevice& device() const { return device_; }

 private:
  Edu(VfioDevice device, MappedRegion registers, const DmaArena* arena, uint64_t offset)
      : device_(std::move(device)),
        registers_(std::move(registers)),
        arena_(arena),
        offset_(offset) {}
  absl::Status Transfer(uint64_t from, uint64_t to, uint64_t command);

  VfioDevice device_;
  MappedRegion registers_;
  const DmaArena* arena_;
  uint64_t offset_;
  std::optional<VfioInterrupts> interrupts_;
  UniqueFd event_;
};

}  // namespace vmm

#endif  // TESTS_SUPPORT_VFIO_EDU_H_
