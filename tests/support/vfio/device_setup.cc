#include "tests/support/vfio/device_setup.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "tests/support/vfio/share.h"
#include "tools/luod/kexec.h"

namespace vmm {

absl::StatusOr<PciAddress> FindFunction(PciId id) {
  ASSIGN_OR_RETURN(const std::vector<PciAddress> found, PciSysfs().Find(id));
  if (found.empty()) {
    return absl::NotFoundError(absl::StrFormat("no PCI function %04x:%04x", id.vendor, id.device));
  }
  return found.back();
}

absl::StatusOr<DrivenDevice> Drive(VfioDevice device, const DmaArena& arena) {
  ASSIGN_OR_RETURN(IommuFd iommu, IommuFd::Open());
  ASSIGN_OR_RETURN(Ioas ioas, iommu.AllocateIoas());
  RETURN_IF_ERROR(arena.MapInto(ioas));
  RETURN_IF_ERROR(device.Bind(iommu));
  ASSIGN_OR_RETURN(Hwpt table, iommu.AllocateHwpt(device.id(), ioas));
  RETURN_IF_ERROR(device.Attach(table));
  return DrivenDevice{std::move(device), std::move(iommu), std::move(ioas), std::move(table)};
}

absl::StatusOr<VfioDevice> OpenBeside(PciAddress address, const DrivenDevice& first) {
  RETURN_IF_ERROR(PciSysfs().BindToVfioPci(address));
  ASSIGN_OR_RETURN(VfioDevice device, VfioDevice::Open(address));
  RETURN_IF_ERROR(device.Bind(first.iommu));
  RETURN_IF_ERROR(device.Attach(first.table));
  return device;
}

absl::Status LoadNextKernelWith(const std::string& line) {
  const UniqueFd kernel(open("/share/boot/bzImage", O_RDONLY | O_CLOEXEC));
  if (!kernel.valid()) return ErrnoStatus(errno, "/share/boot/bzImage");
  const UniqueFd initrd(open("/share/boot/initrd", O_RDONLY | O_CLOEXEC));
  if (!initrd.valid()) return ErrnoStatus(errno, "/share/boot/initrd");
  return SystemKexec().Load(kernel.get(), initrd.get(), line);
}

absl::Status LoadNextKernel(const std::string& more) {
  std::ifstream file("/proc/cmdline");
  std::string line(std::istreambuf_iterator<char>(file), {});
  if (!line.empty() && line.back() == '\n') line.pop_back();
  if (!more.empty()) absl::StrAppend(&line, " ", more);
  return LoadNextKernelWith(line);
}

absl::Status Reboot(int generation) {
  RETURN_IF_ERROR(WriteShare(absl::StrCat("/share/vfio.began.", generation), "\n"));
  return SystemKexec().Execute();
}

std::string NamedError(const absl::Status& status) {
  const char* const name = strerrorname_np(StatusErrno(status));
  return absl::StrCat(name == nullptr ? "no errno" : name, ": ", status.message());
}

bool WaitForEvent(int event_fd, int ms) {
  pollfd wait = {.fd = event_fd, .events = POLLIN};
  if (poll(&wait, 1, ms) <= 0) return false;
  uint64_t count;
  return read(event_fd, &count, sizeof(count)) == sizeof(count);
}

uint64_t NowNs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * uint64_t{1'000'000'000} + now.tv_nsec;
}

}  // namespace vmm
