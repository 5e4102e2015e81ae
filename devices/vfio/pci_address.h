// PciAddress: which PCI function, as sysfs and lspci write it: "0000:00:02.0".
//
//   ASSIGN_OR_RETURN(PciAddress address, PciAddress::Parse("00:02.0"));
//   address.ToString();  // "0000:00:02.0"
//
// A value. Widths: PCI Local Bus Specification 3.0, 3.2.2.3.2 (bus 8, device 5, function 3 bits);
// Linux's domains have up to 32 bits.
#ifndef DEVICES_VFIO_PCI_ADDRESS_H_
#define DEVICES_VFIO_PCI_ADDRESS_H_

#include <stdint.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace vmm {

struct PciAddress {
  // Hexadecimal, the domain optional (0 then). kInvalidArgument for anything else.
  static absl::StatusOr<PciAddress> Parse(absl::string_view text);

  std::string ToString() const;

  uint32_t domain = 0;
  uint8_t bus = 0;
  uint8_t device = 0;    // below 32
  uint8_t function = 0;  // below 8

  friend bool operator==(const PciAddress&, const PciAddress&) = default;
};

}  // namespace vmm

#endif  // DEVICES_VFIO_PCI_ADDRESS_H_
