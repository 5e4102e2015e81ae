// A small physical memory into which a fuzzer's bytes are patches: it starts as what a kernel
// handed over, so that an input of a few bytes reaches deep into it.
//
//   static PatchedMemory memory(Build);      // once: writes a handover into memory()
//   memory.Reset(absl::MakeConstSpan(data, size));
//
// A patch has 12 bytes, little-endian: u16 page (modulo the number of pages); u16 what to do (top 4
// bits) and where in the page (the rest); u64 value. What to do, modulo 5:
//   0  write the value
//   1  write the address of page value % kPages
//   2  xor with the value
//   3  add the value
//   4  write the value's low byte only
#ifndef TESTS_FUZZ_PATCHED_MEMORY_H_
#define TESTS_FUZZ_PATCHED_MEMORY_H_

#include <stdint.h>

#include <cstddef>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

class PatchedMemory : public WritablePhysicalMemory {
 public:
  static constexpr uint64_t kPages = 64;
  // Where its pages lie; and behind them memory without contents.
  static constexpr PhysicalRange kPagesRange{PhysicalAddress(uint64_t{1} << 32),
                                             kPages* abi::kPageSize};
  static constexpr PhysicalRange kDataRange{PhysicalAddress(uint64_t{2} << 32), uint64_t{1} << 32};

  explicit PatchedMemory(void (*build)(PatchedMemory& memory));

  // The memory as it was built, with the input's patches.
  void Reset(absl::Span<const uint8_t> input);

  absl::StatusOr<absl::Span<const std::byte>> Read(PhysicalAddress address,
                                                   uint64_t size) const override;
  absl::StatusOr<absl::Span<std::byte>> Write(PhysicalAddress address, uint64_t size) override;
  bool Contains(PhysicalAddress address, uint64_t size) const override;
  uint64_t size() const override { return kPagesRange.size + kDataRange.size; }

 private:
  std::vector<uint64_t> pages_;
  std::vector<uint64_t> built_;
};

}  // namespace luo

#endif  // TESTS_FUZZ_PATCHED_MEMORY_H_
