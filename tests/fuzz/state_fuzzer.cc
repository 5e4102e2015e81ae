// The state memfd's reader. Each input is read twice: as a whole file, and as the payload of a
// sound frame, since no fuzzer guesses a checksum.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "vmm/state/state_frame.h"
#include "vmm/state/state_memfd.h"
#include "vmm/state/state_schema.h"

namespace {

void Read(absl::Span<const uint8_t> file) {
  vmm::UniqueFd fd(memfd_create("state", MFD_CLOEXEC));
  if (write(fd.get(), file.data(), file.size()) != static_cast<ssize_t>(file.size())) return;
  absl::StatusOr<vmm::Tree> state = vmm::ReadStateMemfd(fd.get());
  (void)vmm::MarkConsumed(fd.get());
  if (!state.ok()) return;
  (void)vmm::CheckKnownNodes(*state, {"vcpu", "clock"}, [](absl::string_view) {});
  // What was accepted once can be written, and a state from which a vCPU ran is refused.
  if (!vmm::WriteStateMemfd(*state).ok() || vmm::ReadStateMemfd(fd.get()).ok()) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  Read(absl::MakeConstSpan(data, size));
  Read(vmm::FrameState(absl::MakeConstSpan(data, size)));
  return 0;
}
