// PciSysfs: what sysfs says of PCI functions, and how one is given to vfio-pci.
//
//   PciSysfs sysfs;
//   ASSIGN_OR_RETURN(std::vector<PciAddress> nics, sysfs.Find({0x8086, 0x10d3}));
//   RETURN_IF_ERROR(sysfs.BindToVfioPci(nics.at(0)));
//   ASSIGN_OR_RETURN(std::string name, sysfs.VfioCdevName(nics.at(0)));  // "vfio0"
//
// Source of the files: Linux 7.3, Documentation/ABI/testing/sysfs-bus-pci and
// drivers/vfio/vfio_main.c. Nothing is kept: each call reads anew. Safe to use from several
// threads.
#ifndef DEVICES_VFIO_PCI_SYSFS_H_
#define DEVICES_VFIO_PCI_SYSFS_H_

#include <stdint.h>

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "devices/vfio/pci_address.h"

namespace vmm {

// Vendor and device ID of a function.
struct PciId {
  uint16_t vendor = 0;
  uint16_t device = 0;

  friend bool operator==(const PciId&, const PciId&) = default;
};

// Where a BAR lies in the host's physical address space (or its I/O ports); `size` is in bytes, 0
// for a BAR that is not there.
struct PciResource {
  uint64_t start = 0;
  uint64_t size = 0;
};

class PciSysfs {
 public:
  // `root` is elsewhere in tests only.
  explicit PciSysfs(std::string root = "/sys") : root_(std::move(root)) {}

  // The functions with this ID, ascending by address; none is no error.
  absl::StatusOr<std::vector<PciAddress>> Find(PciId id) const;

  // kNotFound from these where no such function is.
  absl::StatusOr<PciId> Id(PciAddress address) const;
  // The driver's name; "" where none is bound.
  absl::StatusOr<std::string> Driver(PciAddress address) const;
  // BARs 0 to 5.
  absl::StatusOr<PciResource> Bar(PciAddress address, int bar) const;

  // Takes the function from its driver, if it has another, and gives it to vfio-pci, now and
  // whenever a driver is looked for again (driver_override). The device may be in use by its
  // driver: the caller knows that it is not. kFailedPrecondition where vfio-pci did not take it.
  absl::Status BindToVfioPci(PciAddress address) const;
  // The reverse: the function's own driver, if the kernel has one, takes it.
  absl::Status ReturnToHost(PciAddress address) const;

  // The name of the function's character device in /dev/vfio/devices. kNotFound: it is not bound to
  // a VFIO driver, or the kernel has no CONFIG_VFIO_DEVICE_CDEV.
  absl::StatusOr<std::string> VfioCdevName(PciAddress address) const;

 private:
  std::string Folder(PciAddress address) const;
  absl::Status Unbind(PciAddress address, absl::string_view driver) const;
  absl::Status Override(PciAddress address, absl::string_view driver) const;

  std::string root_;
};

}  // namespace vmm

#endif  // DEVICES_VFIO_PCI_SYSFS_H_
