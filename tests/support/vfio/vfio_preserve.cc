// Tries to preserve a device in some state, and says what the kernel says.
//
//   vfio_preserve ADDRESS open|bound|attached|scattered|pasid|nesting-parent|nested [WORDS]
//   vfio_preserve PATH file
//
// A device that is `scattered` is attached to a page table with too many tables. WORDS are more
// words of the command line of a next kernel, which is loaded before. Prints "preserved" and exits
// with 0 where it works, after everything was undone; else with 1 and the error.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>

#include <optional>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/unique_fd.h"
#include "devices/vfio/pci_sysfs.h"
#include "devices/vfio/vfio_device.h"
#include "luo_kernel/client/kernel_live_update.h"
#include "tests/support/vfio/device_setup.h"
#include "tests/support/vfio/dma_arena.h"
#include "tests/support/vfio/unusual_tables.h"

namespace vmm {
namespace {

absl::Status Preserve(const VfioDevice& device) {
  ASSIGN_OR_RETURN(auto client, luo::KernelLiveUpdate::Open());
  ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client->CreateSession("vfio-preserve"));
  return device.Preserve(session, 1);
}

absl::Status PreserveFile(const char* path) {
  const UniqueFd file(open(path, O_RDWR | O_CLOEXEC));
  if (!file.valid()) return ErrnoStatus(errno, path);
  ASSIGN_OR_RETURN(auto client, luo::KernelLiveUpdate::Open());
  ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client->CreateSession("vfio-preserve"));
  return session.PreserveFd(file.get(), 1);
}

absl::Status Run(int argc, char** argv) {
  const std::string state = argv[2];
  if (state == "file") return PreserveFile(argv[1]);
  ASSIGN_OR_RETURN(const PciAddress address, PciAddress::Parse(argv[1]));
  if (argc > 3) RETURN_IF_ERROR(LoadNextKernel(argv[3]));
  RETURN_IF_ERROR(PciSysfs().BindToVfioPci(address));
  ASSIGN_OR_RETURN(VfioDevice device, VfioDevice::Open(address));
  if (state == "open") return Preserve(device);
  if (state == "bound") {
    ASSIGN_OR_RETURN(const IommuFd iommu, IommuFd::Open());
    RETURN_IF_ERROR(device.Bind(iommu));
    return Preserve(device);
  }
  ASSIGN_OR_RETURN(const DmaArena arena, DmaArena::Create(1 << 20));
  auto drive = Drive;
  if (state == "pasid") {
    drive = DriveWithPasid;
  } else if (state == "nesting-parent") {
    drive = DriveByNestingParent;
  } else if (state == "nested") {
    drive = DriveNested;
  } else if (state != "attached" && state != "scattered") {
    return absl::InvalidArgumentError("no such state: " + state);
  }
  ASSIGN_OR_RETURN(DrivenDevice driven, drive(std::move(device), arena));
  if (state == "scattered") RETURN_IF_ERROR(arena.MapScattered(driven.ioas, kTooManyTables));
  RETURN_IF_ERROR(Preserve(driven.device));
  // Undone: so it can be done again.
  return Preserve(driven.device);
}

}  // namespace
}  // namespace vmm

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: vfio_preserve ADDRESS STATE [WORDS] | vfio_preserve PATH file\n");
    return 2;
  }
  const absl::Status status = vmm::Run(argc, argv);
  if (status.ok()) {
    printf("preserved\n");
    return 0;
  }
  printf("vfio_preserve: %s\n", vmm::NamedError(status).c_str());
  return 1;
}
