// SparseMemory: as much of a real machine's memory as a decoder looks at, in a few KiB: what real
// Linux handed over, for fuzzers to start from and tests to read.
//
//   absl::StatusOr<SparseMemory> memory = SparseMemory::Parse(input);
//   if (memory.ok()) IncomingHandover::Open(*memory, memory->begin().handover);
//
// An input, little-endian:
//   8 bytes  "LUOMEM1\n"
//   Begin    where each decoder begins
//   u64      how many ranges of memory; then u64 address, u64 size of each
//   until the end, pieces: u64 address, u16 size, that many bytes, all in one page
// A page that a piece names is zeros but for its pieces. All other memory is there and cannot be
// read (kPermissionDenied), like data nobody should look at. Pieces outside the ranges, and what is
// behind the first that is cut, are passed over. A few pages more, zeros, far above, are for a
// kernel that boots on it.
//
// cut_seeds.cc makes such inputs from memory images.
#ifndef TESTS_FUZZ_SPARSE_MEMORY_H_
#define TESTS_FUZZ_SPARSE_MEMORY_H_

#include <stdint.h>

#include <cstddef>
#include <map>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/inspect/physical_reader.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

class SparseMemory final : public WritablePhysicalMemory, public PhysicalReader {
 public:
  struct Begin {
    abi::KhoData handover;
    uint64_t memfd;       // of a file's description, "memfd-v2"
    uint64_t blocks;      // of a block list's first block
    uint64_t entry_size;  // of that list
  };
  static_assert(sizeof(Begin) == 56);

  // For a kernel that boots on it: its scratch memory comes first.
  static constexpr PhysicalRange kBootRange{PhysicalAddress(uint64_t{1} << 46),
                                            64 * abi::kPageSize};
  static constexpr PhysicalRange kBootScratch{kBootRange.start, 20 * abi::kPageSize};

  // kInvalidArgument for what is no such input, has wrong ranges, more than kMaxBytes of them or
  // more than kMaxPages pages.
  static absl::StatusOr<SparseMemory> Parse(absl::Span<const uint8_t> input);

  // An input that is parsed as `begin`, `ranges` and `pages`, {address: the page's bytes}.
  static std::vector<uint8_t> Format(const Begin& begin, const std::vector<MemoryRange>& ranges,
                                     const std::map<uint64_t, std::vector<uint8_t>>& pages);

  const Begin& begin() const { return begin_; }

  absl::StatusOr<absl::Span<const std::byte>> Read(PhysicalAddress address,
                                                   uint64_t size) const override;
  absl::StatusOr<absl::Span<std::byte>> Write(PhysicalAddress address, uint64_t size) override;
  bool Contains(PhysicalAddress address, uint64_t size) const override;
  uint64_t size() const override;

  const std::vector<MemoryRange>& ranges() const override { return ranges_; }
  absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const override;
  uint64_t NextReadable(uint64_t address) const override;

  // Of all ranges: what walks through a machine's memory is bounded by how much it has.
  static constexpr uint64_t kMaxBytes = uint64_t{4} << 30;

 private:
  static constexpr size_t kMaxPages = 4096;
  static constexpr size_t kMaxRanges = 64;

  SparseMemory() = default;

  Begin begin_ = {};
  std::vector<MemoryRange> ranges_;  // ascending, apart
  // {address: bytes} of pages that touch.
  std::map<uint64_t, std::vector<std::byte>> runs_;
};

}  // namespace luo

#endif  // TESTS_FUZZ_SPARSE_MEMORY_H_
