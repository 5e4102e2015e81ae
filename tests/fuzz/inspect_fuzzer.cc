// The reader of handovers, over memory in which anything may be broken. The input is a list of
// changes to a sound handover: where (three bytes), how many bytes (one), the bytes.
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/types/span.h"
#include "luo_kernel/inspect/handover_reader.h"
#include "luo_kernel/inspect/json.h"
#include "luo_kernel/inspect/salvage.h"
#include "luo_kernel/inspect/test_handover.h"
#include "luo_kernel/inspect/text.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const luo::TestHandover* const sound = new luo::TestHandover;
  luo::TestHandover handover = *sound;
  absl::Span<const uint8_t> rest(data, size);
  while (rest.size() > 4) {
    const uint64_t offset =
        (rest[0] | rest[1] << 8 | uint64_t{rest[2]} << 16) % luo::TestHandover::kMemorySize;
    const size_t length =
        std::min<size_t>({rest[3], rest.size() - 4, luo::TestHandover::kMemorySize - offset});
    rest.remove_prefix(4);
    const luo::PhysicalAddress address(luo::TestHandover::kMemory + offset);
    auto target = handover.memory().Write(address, length);
    if (target.ok() && length > 0) memcpy(target->data(), rest.data(), length);
    rest.remove_prefix(length);
  }
  luo::Report report;
  report.handovers.push_back(handover.Read());
  (void)luo::FindHandovers(handover.memory());
  std::optional<luo::HandoverReport> salvaged = luo::Salvage(handover.memory());
  if (salvaged.has_value()) report.handovers.push_back(*std::move(salvaged));
  (void)luo::Text(report, {.color = true, .all = true});
  (void)luo::Json(report);
  return 0;
}
