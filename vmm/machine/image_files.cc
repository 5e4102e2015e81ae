#include "vmm/machine/image_files.h"

#include <errno.h>
#include <fcntl.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace vmm {
namespace {

absl::StatusOr<UniqueFd> OpenImage(absl::string_view option, const std::string& path) {
  // O_NONBLOCK: a FIFO must be refused, not waited for.
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus(errno, absl::StrCat(option, " ", path));
  return fd;
}

}  // namespace

absl::StatusOr<ImageFiles> ImageFiles::Open(const MachineConfig& config) {
  ImageFiles images;
  ASSIGN_OR_RETURN(images.kernel, OpenImage("--kernel", config.kernel));
  if (!config.initramfs.empty()) {
    ASSIGN_OR_RETURN(images.initramfs, OpenImage("--initramfs", config.initramfs));
  }
  return images;
}

}  // namespace vmm
