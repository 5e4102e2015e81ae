// What luod reads after a kexec. Each input is read twice: as a whole file, and as the payload of a
// sound frame, since no fuzzer guesses a checksum.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"
#include "tools/luod/manifest.h"
#include "vmm/state/state_frame.h"

namespace {

void Read(absl::Span<const uint8_t> file) {
  vmm::UniqueFd fd(memfd_create("manifest", MFD_CLOEXEC));
  if (write(fd.get(), file.data(), file.size()) != static_cast<ssize_t>(file.size())) return;
  absl::StatusOr<vmm::Manifest> manifest = vmm::ReadManifest(fd.get());
  if (!manifest.ok()) return;
  (void)vmm::ReportOf(*manifest);
  // What was accepted can be handed on.
  absl::StatusOr<vmm::UniqueFd> again = vmm::WriteManifest(*manifest);
  if (!again.ok() || !vmm::ReadManifest(again->get()).ok()) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Read(absl::MakeConstSpan(data, size));
  Read(vmm::FrameState(absl::MakeConstSpan(data, size)));
  return 0;
}
