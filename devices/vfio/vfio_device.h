// VfioDevice: a PCI device that this process drives, by VFIO's character device and iommufd.
//
//   ASSIGN_OR_RETURN(PciAddress address, PciAddress::Parse("0000:00:02.0"));
//   RETURN_IF_ERROR(PciSysfs().BindToVfioPci(address));
//   ASSIGN_OR_RETURN(VfioDevice nic, VfioDevice::Open(address));
//   ASSIGN_OR_RETURN(IommuFd iommu, IommuFd::Open());
//   ASSIGN_OR_RETURN(Ioas ioas, iommu.AllocateIoas());
//   RETURN_IF_ERROR(ioas.MapFile(ram, 0, ram_size, 0, DmaAccess::kReadWrite));
//   RETURN_IF_ERROR(nic.Bind(iommu));
//   ASSIGN_OR_RETURN(Hwpt table, iommu.AllocateHwpt(nic.id(), ioas));
//   RETURN_IF_ERROR(nic.Attach(table));
//   ASSIGN_OR_RETURN(PciConfigSpace config, nic.Config());
//   RETURN_IF_ERROR(config.SetCommandBits(kPciCommandMemory | kPciCommandBusMaster));
//   ASSIGN_OR_RETURN(VfioRegion bar0, nic.Region(0));
//
// Over a live update of the host (luo_kernel/client; a kernel with VFIO's live update support):
//
//   // Old kernel. The memory first: the kernel lets go of files in the reverse order.
//   RETURN_IF_ERROR(session.PreserveFd(ram, kRamToken));
//   RETURN_IF_ERROR(nic.Preserve(session, kNicToken));
//   ...reboot(KEXEC) while nic, its context and the session are open; the device goes on...
//
//   // New kernel. The device writes into the same pages all the time, by the old page table.
//   ASSIGN_OR_RETURN(UniqueFd ram, session.RetrieveFd(kRamToken));
//   ASSIGN_OR_RETURN(VfioDevice nic, VfioDevice::Retrieve(session, kNicToken));
//   ...as above from IommuFd::Open() on, the same memory at the same IOVAs: Attach() switches from
//   the old page table to the new one. No Reset(), no SetCommandBits()...
//   RETURN_IF_ERROR(session.Finish());
//
// Closing the last user of the device's file (this, regions, interrupts) detaches and unbinds it;
// VFIO then switches its DMA off and resets it.
//
// Errors are one line, begin with what was tried, and keep the errno (StatusErrno). Source of all
// rules: Linux 7.3, include/uapi/linux/vfio.h and drivers/vfio/device_cdev.c.
//
// Threads: the kernel serialises calls; Bind() and moves are one thread's at a time.
#ifndef DEVICES_VFIO_VFIO_DEVICE_H_
#define DEVICES_VFIO_VFIO_DEVICE_H_

#include <stdint.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "devices/vfio/iommu_fd.h"
#include "devices/vfio/pci_address.h"
#include "devices/vfio/pci_config_space.h"
#include "devices/vfio/pci_sysfs.h"
#include "devices/vfio/vfio_interrupts.h"
#include "devices/vfio/vfio_region.h"
#include "luo_kernel/client/live_update_client.h"

namespace vmm {

class VfioDevice {
 public:
  // The function must be bound to vfio-pci; PciSysfs::BindToVfioPci() does it.
  static absl::StatusOr<VfioDevice> Open(PciAddress address, const PciSysfs& sysfs = PciSysfs(),
                                         const std::string& dev = "/dev");
  // By its character device, as "/dev/vfio/devices/vfio0".
  static absl::StatusOr<VfioDevice> OpenCdev(const std::string& path);
  // A descriptor of such a character device, from anywhere; `name` is for errors.
  static VfioDevice FromFd(UniqueFd fd, std::string name) {
    return VfioDevice(std::move(fd), std::move(name));
  }

  // Keeps the device over the next kexec, running, under `token`. It must be bound and attached,
  // and stay so. Mappings may still change; inside reboot() the kernel keeps them as they are then.
  // Notable: ENOENT (the kernel cannot preserve VFIO devices). For all others the error, and the
  // kernel's log, say what it is about this device.
  absl::Status Preserve(luo::LiveUpdateSession& session, uint64_t token) const;
  // The device that the previous kernel kept: unbound and not attached, as one just opened, but
  // with its DMA still on.
  static absl::StatusOr<VfioDevice> Retrieve(luo::LiveUpdateSession& session, uint64_t token);

  // Everything below but Bind() wants the device bound. Once per open file.
  absl::Status Bind(const IommuFd& iommu);
  // The device's ID in the context it is bound to; 0 before.
  uint32_t id() const { return id_; }

  // DMA goes by this page table from now on, in place of one that was attached before. EINVAL where
  // the device's reserved IOVAs are mapped in it.
  absl::Status Attach(const Hwpt& table);
  // The same by address space: the kernel makes a page table or reuses one. Not for a device that
  // does DMA already (see IommuFd::AllocateHwpt).
  absl::Status Attach(const Ioas& ioas);
  // All DMA is blocked from now on.
  absl::Status Detach();

  // BARs are regions 0 to 5, the ROM is 6. kNotFound: the device has no such region, or it is
  // empty.
  absl::StatusOr<VfioRegion> Region(uint32_t index) const;
  absl::StatusOr<PciConfigSpace> Config() const;
  // kNotFound: it has none of this kind.
  absl::StatusOr<VfioInterrupts> Interrupts(InterruptKind kind) const;

  // Whether Reset() can work.
  absl::StatusOr<bool> CanReset() const;
  // The function, as after power-on: BARs stay, DMA stops, its driver's state is gone.
  absl::Status Reset();

  int fd() const { return fd_->get(); }
  const std::string& name() const { return name_; }

 private:
  VfioDevice(UniqueFd fd, std::string name)
      : fd_(std::make_shared<const UniqueFd>(std::move(fd))), name_(std::move(name)) {}
  absl::Status AttachId(uint32_t id, const char* what);

  std::shared_ptr<const UniqueFd> fd_;
  std::string name_;
  uint32_t id_ = 0;
};

}  // namespace vmm

#endif  // DEVICES_VFIO_VFIO_DEVICE_H_
