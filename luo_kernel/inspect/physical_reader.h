// PhysicalReader: somebody's physical memory, to look at: a memory image, a running kernel's
// memory, a hosted instance's.
//
//   RETURN_IF_ERROR(memory.Read(address, absl::MakeSpan(bytes)));
//
// It copies, where kho/physical_memory.h gives spans that last: those take memory that is mapped,
// and a file under a mapping that shrinks ends the program that looks.
#ifndef LUO_KERNEL_INSPECT_PHYSICAL_READER_H_
#define LUO_KERNEL_INSPECT_PHYSICAL_READER_H_

#include <stdint.h>
#include <string.h>

#include <type_traits>
#include <vector>

#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"

namespace luo {

struct MemoryRange {
  uint64_t address = 0;
  uint64_t size = 0;  // bytes; address + size does not overflow
  friend bool operator==(const MemoryRange&, const MemoryRange&) = default;
};

class PhysicalReader {
 public:
  virtual ~PhysicalReader() = default;
  // Where there is memory: ascending, not overlapping.
  virtual const std::vector<MemoryRange>& ranges() const = 0;
  // kOutOfRange where not all of it can be read; `out` may be partly written then.
  virtual absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const = 0;
  // Where, at or after `address`, the next thing lies that may be readable, for those who know: so
  // large gaps take no time. UINT64_MAX where nothing is left.
  virtual uint64_t NextReadable(uint64_t address) const { return address; }

  // A copy of the structure at `address`, which may change or be anything.
  template <typename T>
  absl::StatusOr<T> Load(uint64_t address) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    absl::Status status =
        Read(address, absl::MakeSpan(reinterpret_cast<uint8_t*>(&value), sizeof(T)));
    if (!status.ok()) return status;
    return value;
  }

  // Calls visit(address, page) for each whole, aligned 4 KiB page that can be read, in order.
  // After 256 MiB in a row of which none can be: only those all of whose MiB can be read, until one
  // is found.
  void ForEachPage(
      absl::FunctionRef<void(uint64_t address, absl::Span<const uint8_t> page)> visit) const;

  // Whether [address, address + size) lies in one of the ranges.
  bool Has(uint64_t address, uint64_t size) const;
};

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_PHYSICAL_READER_H_
