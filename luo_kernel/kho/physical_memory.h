// Physical memory as KHO sees it: addresses, ranges, and an interface that gives bytes for them. A
// machine made of files (extent_memory.h) implements it, and so can whatever reads a memory image.
//
//   PhysicalAddress page(0x100000);
//   ASSIGN_OR_RETURN(absl::Span<const std::byte> bytes, memory.Read(page, abi::kPageSize));
//   ASSIGN_OR_RETURN(abi::Vmalloc area, ReadStruct<abi::Vmalloc>(memory, page));
//
// An address is a number of its own type, so that it is never taken for a pointer or a page frame
// number. Any address may be asked for: the answer for one outside memory is an error.
#ifndef LUO_KERNEL_KHO_PHYSICAL_MEMORY_H_
#define LUO_KERNEL_KHO_PHYSICAL_MEMORY_H_

#include <stdint.h>
#include <string.h>

#include <compare>
#include <cstddef>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "luo_kernel/abi/kho_v4.h"

namespace luo {

class PhysicalAddress {
 public:
  constexpr PhysicalAddress() = default;
  constexpr explicit PhysicalAddress(uint64_t value) : value_(value) {}

  constexpr uint64_t value() const { return value_; }
  // The page frame that the address lies in.
  constexpr uint64_t frame() const { return value_ >> abi::kPageShift; }
  constexpr bool IsPageAligned() const { return value_ % abi::kPageSize == 0; }

  // This address `bytes` further on, or nullopt where that wraps.
  constexpr std::optional<PhysicalAddress> CheckedAdd(uint64_t bytes) const {
    if (value_ + bytes < value_) return std::nullopt;
    return PhysicalAddress(value_ + bytes);
  }

  friend constexpr auto operator<=>(PhysicalAddress, PhysicalAddress) = default;

  template <typename H>
  friend H AbslHashValue(H h, PhysicalAddress address) {
    return H::combine(std::move(h), address.value_);
  }

 private:
  uint64_t value_ = 0;
};

// [start, start + size), in bytes. A range that would wrap at 2^64 contains and overlaps nothing.
struct PhysicalRange {
  PhysicalAddress start;
  uint64_t size = 0;

  constexpr bool wraps() const { return size != 0 && start.value() + (size - 1) < start.value(); }
  // Whether all of [address, address + bytes) lies inside.
  constexpr bool Contains(PhysicalAddress address, uint64_t bytes = 1) const {
    return !wraps() && address >= start && address.value() - start.value() <= size &&
           bytes <= size - (address.value() - start.value());
  }
  constexpr bool Overlaps(const PhysicalRange& other) const {
    if (size == 0 || other.size == 0 || wraps() || other.wraps()) return false;
    return start.value() <= other.start.value() + (other.size - 1) &&
           other.start.value() <= start.value() + (size - 1);
  }
  friend constexpr bool operator==(const PhysicalRange&, const PhysicalRange&) = default;
};

// For messages: "0x1000".
inline std::string ToString(PhysicalAddress address) {
  return absl::StrFormat("%#x", address.value());
}

// The bytes behind an order.
constexpr uint64_t BytesOfOrder(unsigned order) { return abi::kPageSize << order; }

// Memory that can be read. Not synchronised: one thread at a time, unless an implementation says
// more.
class PhysicalMemory {
 public:
  virtual ~PhysicalMemory() = default;

  // The bytes at [address, address + size). The span stays valid as long as the memory (or the part
  // of it that was removed since) does. kOutOfRange where there is no memory, or where a request of
  // more than a page goes over the end of what the implementation holds in one piece;
  // kPermissionDenied where memory is there and its contents are not to be looked at.
  virtual absl::StatusOr<absl::Span<const std::byte>> Read(PhysicalAddress address,
                                                           uint64_t size) const = 0;

  // Whether all of [address, address + size) is memory, readable or not. Ranges may span pieces.
  virtual bool Contains(PhysicalAddress address, uint64_t size) const = 0;

  // Bytes of memory there are: the bound of whatever hostile metadata can claim.
  virtual uint64_t size() const = 0;
};

// Memory that can be written, too.
class WritablePhysicalMemory : public PhysicalMemory {
 public:
  // As Read().
  virtual absl::StatusOr<absl::Span<std::byte>> Write(PhysicalAddress address, uint64_t size) = 0;
};

// A copy of the structure at `address`, which need not be aligned. What is checked is the copy, not
// the memory.
template <typename T>
absl::StatusOr<T> ReadStruct(const PhysicalMemory& memory, PhysicalAddress address) {
  static_assert(std::is_trivially_copyable_v<T>);
  ASSIGN_OR_RETURN(absl::Span<const std::byte> bytes, memory.Read(address, sizeof(T)));
  T value;
  memcpy(&value, bytes.data(), sizeof(T));
  return value;
}

template <typename T>
absl::Status WriteStruct(WritablePhysicalMemory& memory, PhysicalAddress address, const T& value) {
  static_assert(std::is_trivially_copyable_v<T>);
  ASSIGN_OR_RETURN(absl::Span<std::byte> bytes, memory.Write(address, sizeof(T)));
  memcpy(bytes.data(), &value, sizeof(T));
  return absl::OkStatus();
}

}  // namespace luo

#endif  // LUO_KERNEL_KHO_PHYSICAL_MEMORY_H_
