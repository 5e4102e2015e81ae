// Trees from anywhere: what decodes must encode, and decode to the same again.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <algorithm>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"

namespace {

bool Equal(const vmm::Tree& a, const vmm::Tree& b) {
  return a.name() == b.name() && a.properties() == b.properties() &&
         std::equal(a.children().begin(), a.children().end(), b.children().begin(),
                    b.children().end(), Equal);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<vmm::Tree> tree = vmm::DecodeTree(absl::MakeConstSpan(data, size));
  if (!tree.ok()) return 0;
  const absl::StatusOr<std::vector<uint8_t>> bytes = vmm::EncodeTree(*tree);
  if (!bytes.ok()) abort();
  const absl::StatusOr<vmm::Tree> again = vmm::DecodeTree(*bytes);
  if (!again.ok() || !Equal(*tree, *again)) abort();
  return 0;
}
