#include "tests/fuzz/older_seeds.h"

#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/inspect/test_older_handover.h"
#include "tests/fuzz/sparse_memory.h"

namespace luo {

std::map<std::string, std::vector<uint8_t>> OlderSeeds() {
  const auto format = [](TestOlderHandover& handover) {
    const SparseMemory::Begin begin = {
        .handover = {.root_address = TestOlderHandover::kRoot, .root_size = abi::kKhoRootSize}};
    return SparseMemory::Format(begin, handover.memory().ranges(), handover.Pages());
  };
  TestOlderHandover names_only;
  names_only.WriteLuoWithNamesOnly();
  TestOlderHandover with_files;
  with_files.WriteKho("kho-v3");
  return {{"luo_session_v1", format(names_only)}, {"luo_session_v2", format(with_files)}};
}

}  // namespace luo
