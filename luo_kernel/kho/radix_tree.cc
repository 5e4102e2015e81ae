#include "luo_kernel/kho/radix_tree.h"

#include <algorithm>
#include <bit>

#include "absl/types/span.h"
#include "base/status.h"

namespace luo {
namespace {

constexpr uint64_t Bit(uint64_t key) { return uint64_t{1} << (key % 64); }
constexpr uint64_t Word(uint64_t key) { return abi::RadixBitmapIndex(key) / 64; }

// Any bit of [first, first + count) in a bitmap; the range lies inside it.
std::optional<unsigned> AnyBit(const uint64_t* bitmap, unsigned first, uint64_t count) {
  const unsigned end = first + static_cast<unsigned>(count);
  for (unsigned word = first / 64; word * 64 < end; ++word) {
    uint64_t bits = bitmap[word];
    if (word * 64 < first) bits &= ~uint64_t{0} << (first - word * 64);
    if (end - word * 64 < 64) bits &= (uint64_t{1} << (end - word * 64)) - 1;
    if (bits != 0) return word * 64 + static_cast<unsigned>(std::countr_zero(bits));
  }
  return std::nullopt;
}

// The page at `address` as words; null where there is no such page, which a tree of our own never
// has.
uint64_t* PageAt(WritablePhysicalMemory* memory, uint64_t address) {
  absl::StatusOr<absl::Span<std::byte>> page =
      memory->Write(PhysicalAddress(address), abi::kPageSize);
  return page.ok() ? reinterpret_cast<uint64_t*>(page->data()) : nullptr;
}

// The node that a table's slot leads to, or null.
uint64_t* Below(WritablePhysicalMemory* memory, const uint64_t* table, unsigned slot) {
  return table[slot] == 0 ? nullptr : PageAt(memory, table[slot]);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RadixTree>> RadixTree::Create(WritablePhysicalMemory* memory,
                                                             Arena* arena) {
  ASSIGN_OR_RETURN(PhysicalAddress root, arena->Allocate(0));
  return std::unique_ptr<RadixTree>(new RadixTree(memory, arena, root));
}

uint64_t* RadixTree::FindTable(uint64_t key, unsigned order) const {
  const uint64_t prefix = key >> (abi::kRadixBitmapBits + abi::kRadixTableBits);
  Cached& cached = tables_[(prefix + order) % tables_.size()];
  if (IsKnown(cached, prefix)) return cached.page;
  uint64_t* table = PageAt(memory_, root_.value());
  for (unsigned level = abi::kRadixDepth - 1; level > 1 && table != nullptr; --level) {
    table = Below(memory_, table, abi::RadixTableIndex(key, level));
  }
  cached = {prefix, table, node_pages_};
  return table;
}

uint64_t* RadixTree::FindLeaf(uint64_t key) const {
  const unsigned order = abi::kRadixKeyWidth - static_cast<unsigned>(std::bit_width(key));
  Cached& cached = leaves_[order];
  const uint64_t prefix = key >> abi::kRadixBitmapBits;
  if (IsKnown(cached, prefix)) return cached.page;
  uint64_t* bitmap = FindTable(key, order);
  if (bitmap != nullptr) bitmap = Below(memory_, bitmap, abi::RadixTableIndex(key, 1));
  cached = {prefix, bitmap, node_pages_};
  return bitmap;
}

absl::Status RadixTree::Insert(PhysicalAddress address, unsigned order) {
  const uint64_t key = abi::EncodeRadixKey(address.value(), order);
  uint64_t* bitmap = FindLeaf(key);
  if (bitmap == nullptr) {
    // Down to the table that lacks an entry.
    unsigned level = abi::kRadixDepth - 1;
    uint64_t* slot = nullptr;
    for (uint64_t node = root_.value();; --level) {
      uint64_t* table = PageAt(memory_, node);
      if (table == nullptr) return absl::InternalError("the radix tree leads out of memory");
      slot = &table[abi::RadixTableIndex(key, level)];
      if (*slot == 0) break;
      if (level == 1) return absl::InternalError("the radix tree leads out of memory");
      node = *slot;
    }
    // New nodes are hung into the tree last, whole, so that the tree is right at every moment.
    std::array<PhysicalAddress, abi::kRadixDepth> added;
    for (unsigned below = 0; below < level; ++below) {
      absl::StatusOr<PhysicalAddress> page = arena_->Allocate(0);
      if (!page.ok()) {
        while (below > 0) arena_->Free(added[--below], 0).IgnoreError();
        return page.status();
      }
      added[below] = *page;
    }
    for (unsigned below = 1; below < level; ++below) {
      PageAt(memory_, added[below].value())[abi::RadixTableIndex(key, below)] =
          added[below - 1].value();
    }
    *slot = added[level - 1].value();
    node_pages_ += level;
    bitmap = FindLeaf(key);
    if (bitmap == nullptr) return absl::InternalError("the radix tree leads out of memory");
  }
  if ((bitmap[Word(key)] & Bit(key)) != 0) return absl::OkStatus();
  bitmap[Word(key)] |= Bit(key);
  ++blocks_[order];
  orders_present_ |= uint64_t{1} << order;
  return absl::OkStatus();
}

void RadixTree::Erase(PhysicalAddress address, unsigned order) {
  const uint64_t key = abi::EncodeRadixKey(address.value(), order);
  uint64_t* bitmap = FindLeaf(key);
  if (bitmap == nullptr || (bitmap[Word(key)] & Bit(key)) == 0) return;
  bitmap[Word(key)] &= ~Bit(key);
  if (--blocks_[order] == 0) orders_present_ &= ~(uint64_t{1} << order);
}

bool RadixTree::Has(PhysicalAddress address, unsigned order) const {
  const uint64_t key = abi::EncodeRadixKey(address.value(), order);
  const uint64_t* bitmap = FindLeaf(key);
  return bitmap != nullptr && (bitmap[Word(key)] & Bit(key)) != 0;
}

std::optional<abi::RadixEntry> RadixTree::FindOverlap(PhysicalAddress address,
                                                      unsigned order) const {
  for (uint64_t orders = orders_present_; orders != 0; orders &= orders - 1) {
    const unsigned other = static_cast<unsigned>(std::countr_zero(orders));
    if (other >= order) {
      if (Has(address, other)) {
        return abi::RadixEntry{address.value() & ~(BytesOfOrder(other) - 1), other};
      }
      continue;
    }
    // The smaller blocks inside: a run of bits, which may go over several leaves.
    uint64_t key = abi::EncodeRadixKey(address.value(), other);
    uint64_t left = uint64_t{1} << (order - other);
    while (left > 0) {
      const unsigned first = abi::RadixBitmapIndex(key);
      const uint64_t here = std::min<uint64_t>(left, (1U << abi::kRadixBitmapBits) - first);
      const uint64_t* bitmap = FindLeaf(key);
      if (bitmap != nullptr) {
        if (const std::optional<unsigned> bit = AnyBit(bitmap, first, here)) {
          return abi::DecodeRadixKey(key - first + *bit);
        }
      }
      key += here;
      left -= here;
    }
  }
  return std::nullopt;
}

}  // namespace luo
