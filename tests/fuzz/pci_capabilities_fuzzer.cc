// Configuration spaces from anywhere: looking for any capability ends, and within the space.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <memory>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "devices/vfio/pci_config_space.h"
#include "devices/vfio/vfio_region.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const auto file = std::make_shared<const vmm::UniqueFd>(memfd_create("config", 0));
  size = std::min(size, size_t{256});
  if (ftruncate(file->get(), 0) < 0 || ftruncate(file->get(), 256) < 0 ||
      pwrite(file->get(), data, size, 0) != static_cast<ssize_t>(size)) {
    return 0;
  }
  // Shorter than the real one now and then.
  const vmm::PciConfigSpace config(
      vmm::VfioRegion(file, {.size = std::max(size, size_t{64}), .readable = true}));
  for (int id = 0; id < 256; ++id) {
    const absl::StatusOr<uint8_t> at = config.FindCapability(static_cast<uint8_t>(id));
    if (at.ok() && (*at < 64 || *at % 4 != 0)) abort();
  }
  return 0;
}
