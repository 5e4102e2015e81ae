// Packets that come over the socket of a hosted instance, in either direction.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include "absl/types/span.h"
#include "luo_kernel/hosted/inspect_socket.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::Span<const uint8_t> bytes(data, size);
  (void)luo::ParseRequest(bytes);
  const auto reply = luo::ParseReply(bytes);
  if (reply.ok() && reply->extents > luo::kMaxExtents) abort();
  const auto extents = luo::ParseExtents(bytes);
  if (!extents.ok()) return 0;
  if (extents->empty() || extents->size() > luo::kExtentsPerPacket) abort();
  for (const luo::InspectedExtent& extent : *extents) {
    if (extent.range.size == 0 || extent.range.wraps()) abort();
  }
  return 0;
}
