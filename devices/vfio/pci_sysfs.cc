#include "devices/vfio/pci_sysfs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <memory>
#include <tuple>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace vmm {
namespace {

constexpr absl::string_view kVfioPci = "vfio-pci";
// Far more than any attribute read here has.
constexpr size_t kMaxAttribute = 4096;

absl::StatusOr<std::string> ReadAttribute(const std::string& path) {
  const UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, path);
  char text[kMaxAttribute];
  const ssize_t size = read(fd.get(), text, sizeof(text));
  if (size < 0) return ErrnoStatus(errno, path);
  return std::string(absl::StripTrailingAsciiWhitespace(absl::string_view(text, size)));
}

absl::Status WriteAttribute(const std::string& path, absl::string_view value) {
  const UniqueFd fd(open(path.c_str(), O_WRONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, path);
  if (write(fd.get(), value.data(), value.size()) != static_cast<ssize_t>(value.size())) {
    return ErrnoStatus(errno,
                       absl::StrCat("write \"", absl::StripAsciiWhitespace(value), "\" to ", path));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<std::string>> List(const std::string& path) {
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(opendir(path.c_str()), closedir);
  if (folder == nullptr) return ErrnoStatus(errno, path);
  std::vector<std::string> names;
  while (const dirent* entry = readdir(folder.get())) {
    if (entry->d_name[0] != '.') names.emplace_back(entry->d_name);
  }
  return names;
}

absl::StatusOr<uint16_t> ReadId(const std::string& path) {
  ASSIGN_OR_RETURN(const std::string text, ReadAttribute(path));
  uint32_t value;
  if (!absl::SimpleHexAtoi(text, &value) || value > UINT16_MAX) {
    return absl::InvalidArgumentError(absl::StrCat(path, ": \"", text, "\" is no 16-bit ID"));
  }
  return static_cast<uint16_t>(value);
}

}  // namespace

std::string PciSysfs::Folder(PciAddress address) const {
  return absl::StrCat(root_, "/bus/pci/devices/", address.ToString());
}

absl::StatusOr<std::vector<PciAddress>> PciSysfs::Find(PciId id) const {
  ASSIGN_OR_RETURN(const std::vector<std::string> names, List(root_ + "/bus/pci/devices"));
  std::vector<PciAddress> found;
  for (const std::string& name : names) {
    const absl::StatusOr<PciAddress> address = PciAddress::Parse(name);
    if (!address.ok()) continue;
    // One that is unplugged meanwhile is not there.
    const absl::StatusOr<PciId> its_id = Id(*address);
    if (its_id.ok() && *its_id == id) found.push_back(*address);
  }
  std::sort(found.begin(), found.end(), [](const PciAddress& a, const PciAddress& b) {
    return std::tie(a.domain, a.bus, a.device, a.function) <
           std::tie(b.domain, b.bus, b.device, b.function);
  });
  return found;
}

absl::StatusOr<PciId> PciSysfs::Id(PciAddress address) const {
  ASSIGN_OR_RETURN(const uint16_t vendor, ReadId(Folder(address) + "/vendor"));
  ASSIGN_OR_RETURN(const uint16_t device, ReadId(Folder(address) + "/device"));
  return PciId{.vendor = vendor, .device = device};
}

absl::StatusOr<std::string> PciSysfs::Driver(PciAddress address) const {
  const std::string folder = Folder(address);
  if (access(folder.c_str(), F_OK) < 0) return ErrnoStatus(errno, folder);
  const std::string path = folder + "/driver";
  char target[kMaxAttribute];
  const ssize_t size = readlink(path.c_str(), target, sizeof(target));
  if (size < 0) {
    if (errno == ENOENT) return std::string();
    return ErrnoStatus(errno, path);
  }
  const absl::string_view text(target, size);
  return std::string(text.substr(text.rfind('/') + 1));
}

absl::StatusOr<PciResource> PciSysfs::Bar(PciAddress address, int bar) const {
  if (bar < 0 || bar > 5) return absl::InvalidArgumentError(absl::StrCat("no BAR ", bar));
  const std::string path = Folder(address) + "/resource";
  ASSIGN_OR_RETURN(const std::string text, ReadAttribute(path));
  const std::vector<absl::string_view> lines = absl::StrSplit(text, '\n');
  const absl::Status wrong =
      absl::InvalidArgumentError(absl::StrCat(path, ": no \"START END FLAGS\" for BAR ", bar));
  if (lines.size() <= static_cast<size_t>(bar)) return wrong;
  const std::vector<absl::string_view> fields = absl::StrSplit(lines[bar], ' ');
  uint64_t start, last;
  if (fields.size() != 3 || !absl::SimpleHexAtoi(fields[0], &start) ||
      !absl::SimpleHexAtoi(fields[1], &last) || last < start) {
    return wrong;
  }
  if (last == 0) return PciResource{};
  return PciResource{.start = start, .size = last - start + 1};
}

absl::Status PciSysfs::Unbind(PciAddress address, absl::string_view driver) const {
  return WriteAttribute(absl::StrCat(root_, "/bus/pci/drivers/", driver, "/unbind"),
                        address.ToString());
}

// An override of one newline means none (drivers/base/driver.c, driver_set_override).
absl::Status PciSysfs::Override(PciAddress address, absl::string_view driver) const {
  return WriteAttribute(Folder(address) + "/driver_override", absl::StrCat(driver, "\n"));
}

absl::Status PciSysfs::BindToVfioPci(PciAddress address) const {
  ASSIGN_OR_RETURN(const std::string before, Driver(address));
  // Even where vfio-pci has it already: it is to come back to vfio-pci if it is probed again.
  RETURN_IF_ERROR(Override(address, kVfioPci));
  if (before == kVfioPci) return absl::OkStatus();
  if (!before.empty()) RETURN_IF_ERROR(Unbind(address, before));
  RETURN_IF_ERROR(WriteAttribute(root_ + "/bus/pci/drivers_probe", address.ToString()));
  ASSIGN_OR_RETURN(const std::string after, Driver(address));
  if (after == kVfioPci) return absl::OkStatus();
  return absl::FailedPreconditionError(
      absl::StrCat("vfio-pci did not take ", address.ToString(), ": ",
                   after.empty() ? "the kernel has no CONFIG_VFIO_PCI, or no IOMMU for the device"
                                 : absl::StrCat("it belongs to ", after)));
}

absl::Status PciSysfs::ReturnToHost(PciAddress address) const {
  ASSIGN_OR_RETURN(const std::string before, Driver(address));
  RETURN_IF_ERROR(Override(address, ""));
  if (before == kVfioPci) RETURN_IF_ERROR(Unbind(address, before));
  return WriteAttribute(root_ + "/bus/pci/drivers_probe", address.ToString());
}

absl::StatusOr<std::string> PciSysfs::VfioCdevName(PciAddress address) const {
  const std::string path = Folder(address) + "/vfio-dev";
  const absl::StatusOr<std::vector<std::string>> names = List(path);
  if (!names.ok()) {
    return Annotate(names.status(),
                    absl::StrCat(address.ToString(), " is not bound to a VFIO driver with a cdev"));
  }
  for (const std::string& name : *names) {
    if (absl::StartsWith(name, "vfio")) return name;
  }
  return absl::NotFoundError(absl::StrCat(path, " names no vfio device"));
}

}  // namespace vmm
