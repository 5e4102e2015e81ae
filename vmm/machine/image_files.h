// ImageFiles: the files a guest boots from, opened before anything is built, so that a wrong path
// costs nothing.
#ifndef VMM_MACHINE_IMAGE_FILES_H_
#define VMM_MACHINE_IMAGE_FILES_H_

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "vmm/machine/config.h"

namespace vmm {

struct ImageFiles {
  UniqueFd kernel;
  UniqueFd initramfs;  // not valid when the config has none

  // The error names the option and the path.
  static absl::StatusOr<ImageFiles> Open(const MachineConfig& config);
};

}  // namespace vmm

#endif  // VMM_MACHINE_IMAGE_FILES_H_
