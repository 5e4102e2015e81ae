// PciConfigSpace: a VFIO device's configuration space. VFIO virtualises parts of it (BARs, MSI);
// what is read here is what a guest would be shown.
//
//   ASSIGN_OR_RETURN(PciConfigSpace config, device.Config());
//   RETURN_IF_ERROR(config.SetCommandBits(kPciCommandMemory | kPciCommandBusMaster));
//   ASSIGN_OR_RETURN(uint8_t msix, config.FindCapability(0x11));
//
// Offsets: PCI Local Bus Specification 3.0, 6.1 and 6.7. What a device says is hostile: the list of
// capabilities may loop or point anywhere. Threads: SetCommandBits() reads, then writes; one at a
// time.
#ifndef DEVICES_VFIO_PCI_CONFIG_SPACE_H_
#define DEVICES_VFIO_PCI_CONFIG_SPACE_H_

#include <stdint.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "devices/vfio/vfio_region.h"

namespace vmm {

// Bits of the command register.
inline constexpr uint16_t kPciCommandIo = 1 << 0;
inline constexpr uint16_t kPciCommandMemory = 1 << 1;
inline constexpr uint16_t kPciCommandBusMaster = 1 << 2;
inline constexpr uint16_t kPciCommandIntxDisable = 1 << 10;

class PciConfigSpace {
 public:
  explicit PciConfigSpace(VfioRegion region) : region_(std::move(region)) {}

  template <typename T>
  absl::StatusOr<T> Read(uint64_t offset) const {
    return region_.Read<T>(offset);
  }
  template <typename T>
  absl::Status Write(uint64_t offset, T value) {
    return region_.Write<T>(offset, value);
  }

  absl::StatusOr<uint16_t> Command() const;
  // Sets, or clears, these bits of the command register and leaves the others.
  absl::Status SetCommandBits(uint16_t bits);
  absl::Status ClearCommandBits(uint16_t bits);

  // Offset of the first capability with this ID. kNotFound: it has none; kInvalidArgument: its list
  // has no end, or leaves the configuration space.
  absl::StatusOr<uint8_t> FindCapability(uint8_t id) const;

 private:
  VfioRegion region_;
};

}  // namespace vmm

#endif  // DEVICES_VFIO_PCI_CONFIG_SPACE_H_
