// The reader of handovers, over memory in which anything may be broken. The input is a list of
// changes to a sound handover: where (three bytes), how many bytes (one), the bytes; or memory of
// real Linux's (sparse_memory.h).
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
#include "tests/fuzz/sparse_memory.h"

namespace {

void Show(luo::HandoverReport handover, const luo::PhysicalReader& memory) {
  luo::Report report;
  report.handovers.push_back(std::move(handover));
  (void)luo::FindHandovers(memory);
  std::optional<luo::HandoverReport> salvaged = luo::Salvage(memory);
  if (salvaged.has_value()) report.handovers.push_back(*std::move(salvaged));
  (void)luo::Text(report, {.color = true, .all = true});
  (void)luo::Json(report);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (auto real = luo::SparseMemory::Parse(absl::MakeConstSpan(data, size)); real.ok()) {
    Show(luo::ReadHandover(*real, real->begin().handover.root_address, "fuzz"), *real);
    return 0;
  }
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
  Show(handover.Read(), handover.memory());
  return 0;
}
