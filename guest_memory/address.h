// Typed guest-physical addresses (GPA). A GPA, an offset and a host pointer are different things;
// only GuestMemory turns one into another, and it checks bounds when it does.
//
//   GuestAddress a(0x1000);
//   std::optional<GuestAddress> b = a.CheckedAdd(length);  // nullopt past 2^64
//
// Both types are values. They hold any number a guest can write, in RAM or not.
#ifndef GUEST_MEMORY_ADDRESS_H_
#define GUEST_MEMORY_ADDRESS_H_

#include <stdint.h>

#include <compare>
#include <optional>

namespace vmm {

class GuestAddress {
 public:
  constexpr GuestAddress() = default;
  constexpr explicit GuestAddress(uint64_t value) : value_(value) {}

  constexpr uint64_t value() const { return value_; }

  // This address `bytes` further on, or nullopt where that wraps.
  constexpr std::optional<GuestAddress> CheckedAdd(uint64_t bytes) const {
    if (value_ + bytes < value_) return std::nullopt;
    return GuestAddress(value_ + bytes);
  }

  friend constexpr auto operator<=>(GuestAddress, GuestAddress) = default;

 private:
  uint64_t value_ = 0;
};

// [start, start + size), in bytes.
struct GuestRange {
  GuestAddress start;
  uint64_t size = 0;

  constexpr bool Contains(GuestAddress address) const {
    return address >= start && address.value() - start.value() < size;
  }
  friend constexpr bool operator==(const GuestRange&, const GuestRange&) = default;
};

}  // namespace vmm

#endif  // GUEST_MEMORY_ADDRESS_H_
