// What luod, vmm and luoctl read from each other: the envelope, and each body by every reader. Each
// input is read twice: as a packet, and as the body of a sound envelope.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"
#include "vmm/live_update/messages.h"
#include "vmm/live_update/protocol.h"

namespace {

void ReadBodies(const vmm::Message& message) {
  const vmm::Tree& body = message.body;
  (void)vmm::StatusOfAnswer(message);
  (void)vmm::PingReply::FromTree(body);
  (void)vmm::PrepareReply::FromTree(body);
  (void)vmm::FreezeReply::FromTree(body);
  (void)vmm::UpgradeRequest::FromMessage(message);
  (void)vmm::VmNameRequest::FromTree(body);
  (void)vmm::Progress::FromTree(body);
  (void)vmm::VmStatus::FromTree(body);
  (void)vmm::HostStatus::FromTree(body);
  absl::StatusOr<vmm::RegisterRequest> registration = vmm::RegisterRequest::FromTree(body);
  if (!registration.ok()) return;
  // What was accepted means the same when it is said again.
  absl::StatusOr<vmm::RegisterRequest> again =
      vmm::RegisterRequest::FromTree(registration->ToMessage(1).body);
  if (!again.ok() || again->resume_argv != registration->resume_argv) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  absl::StatusOr<vmm::Message> message = vmm::ParseMessage(absl::MakeConstSpan(data, size), {});
  if (message.ok()) ReadBodies(*message);

  absl::StatusOr<vmm::Tree> body = vmm::DecodeTree(absl::MakeConstSpan(data, size));
  if (!body.ok()) return 0;
  vmm::Message sound;
  sound.body = *std::move(body);
  absl::StatusOr<std::vector<uint8_t>> packet = vmm::EncodeMessage(sound);
  if (!packet.ok()) return 0;  // too large
  message = vmm::ParseMessage(*packet, {});
  if (!message.ok()) abort();
  ReadBodies(*message);
  return 0;
}
