#include "devices/vfio/pci_config_space.h"

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace vmm {
namespace {

constexpr uint64_t kCommand = 0x04;
constexpr uint64_t kStatus = 0x06;
constexpr uint16_t kStatusCapabilities = 1 << 4;
constexpr uint64_t kCapabilities = 0x34;
// Capabilities start after the header and are 4 bytes at least, so more of them cannot be.
constexpr uint8_t kHeaderEnd = 0x40;
constexpr int kMaxCapabilities = (256 - kHeaderEnd) / 4;

}  // namespace

absl::StatusOr<uint16_t> PciConfigSpace::Command() const { return Read<uint16_t>(kCommand); }

absl::Status PciConfigSpace::SetCommandBits(uint16_t bits) {
  ASSIGN_OR_RETURN(const uint16_t command, Command());
  return Write<uint16_t>(kCommand, command | bits);
}

absl::Status PciConfigSpace::ClearCommandBits(uint16_t bits) {
  ASSIGN_OR_RETURN(const uint16_t command, Command());
  return Write<uint16_t>(kCommand, command & ~bits);
}

absl::StatusOr<uint8_t> PciConfigSpace::FindCapability(uint8_t id) const {
  const absl::Status none = absl::NotFoundError(absl::StrFormat("no PCI capability %#x", id));
  ASSIGN_OR_RETURN(const uint16_t status, Read<uint16_t>(kStatus));
  if ((status & kStatusCapabilities) == 0) return none;
  ASSIGN_OR_RETURN(uint8_t at, Read<uint8_t>(kCapabilities));
  for (int count = 0; count < kMaxCapabilities; ++count) {
    at &= ~3;  // The lower two bits are reserved and must be masked.
    if (at == 0) return none;
    if (at < kHeaderEnd) {
      return absl::InvalidArgumentError(
          absl::StrFormat("the list of PCI capabilities points to %#x, into the header", at));
    }
    ASSIGN_OR_RETURN(const uint16_t header, Read<uint16_t>(at));
    if ((header & 0xff) == id) return at;
    at = static_cast<uint8_t>(header >> 8);
  }
  return absl::InvalidArgumentError("the list of PCI capabilities has no end");
}

}  // namespace vmm
