// Nic: a receive-only driver of the two Ethernet controllers that QEMU emulates best: the 82574
// ("e1000e") and the 82576 ("igb"). One ring, all frames, MSI-X vector 0.
//
// All its state beyond the ring is the number of descriptors consumed so far, so it can be taken up
// by another process, or another kernel, in the middle of reception.
//
// Registers and descriptors: Intel 82574 GbE Controller Family Datasheet, chapters 7.1 and 10;
// Intel 82576EB Gigabit Ethernet Controller Datasheet, chapters 7.1 and 8.
#ifndef TESTS_SUPPORT_VFIO_NIC_H_
#define TESTS_SUPPORT_VFIO_NIC_H_

#include <stdint.h>

#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "devices/vfio/pci_sysfs.h"
#include "devices/vfio/vfio_region.h"
#include "tests/support/vfio/dma_arena.h"
#include "tests/support/vfio/frame.h"

namespace vmm {

enum class NicModel { kE1000e, kIgb };

inline constexpr PciId kE1000eId = {.vendor = 0x8086, .device = 0x10d3};
inline constexpr PciId kIgbId = {.vendor = 0x8086, .device = 0x10c9};

// The ring outlasts 16 s of 1000 frames a second without anybody consuming them.
inline constexpr uint32_t kDescriptors = 16384;
inline constexpr uint64_t kDescriptorBytes = 16;
inline constexpr uint64_t kBufferBytes = 1024;
inline constexpr uint64_t kRingOffset = 0;
inline constexpr uint64_t kBuffersOffset = kDescriptors * kDescriptorBytes;
inline constexpr uint64_t kNicArenaBytes = kBuffersOffset + kDescriptors * kBufferBytes;

class Nic {
 public:
  // `arena` has kNicArenaBytes and is mapped for the device; it must outlive this. `consumed`
  // frames were taken out of its ring before.
  Nic(NicModel model, MappedRegion registers, const DmaArena* arena, uint64_t consumed)
      : model_(model), registers_(std::move(registers)), arena_(arena), consumed_(consumed) {}

  // Resets the controller and starts reception into a fresh ring.
  absl::Status Start();
  // The next frame, if one has arrived; its descriptor is the controller's again.
  // kDataLoss: the controller says it has received it, and it is not in memory; or more than the
  // frame was written.
  absl::StatusOr<std::optional<Frame>> Receive();
  // How many frames lie in the ring right now, and the index-th of them; these touch memory only.
  uint32_t Waiting() const;
  Frame Peek(uint32_t index) const;

  // MSI-X vector 0 is raised once by the next frame, and not again until this is called again.
  absl::Status ArmInterrupt();

  // Where the controller will write next.
  absl::StatusOr<uint32_t> Head() const;
  uint64_t consumed() const { return consumed_; }
  // Offset of the head register in BAR 0.
  uint64_t head_register() const;
  // Offset of the byte in a descriptor whose bit 0 says "done".
  uint64_t done_byte() const { return model_ == NicModel::kE1000e ? 12 : 8; }

 private:
  uint64_t DescriptorOffset(uint64_t index) const {
    return kRingOffset + index % kDescriptors * kDescriptorBytes;
  }
  uint64_t BufferOffset(uint64_t index) const {
    return kBuffersOffset + index % kDescriptors * kBufferBytes;
  }
  bool Done(uint64_t index) const;
  void Offer(uint64_t index);
  absl::Status StartE1000e();
  absl::Status StartIgb();

  NicModel model_;
  MappedRegion registers_;
  const DmaArena* arena_;
  uint64_t consumed_;
};

}  // namespace vmm

#endif  // TESTS_SUPPORT_VFIO_NIC_H_
