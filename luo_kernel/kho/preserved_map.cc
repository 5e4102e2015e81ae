#include "luo_kernel/kho/preserved_map.h"

#include <string.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace luo {
namespace {

constexpr uint64_t Bit(uint64_t key) { return uint64_t{1} << (key % 64); }
constexpr uint64_t Word(uint64_t key) { return abi::RadixBitmapIndex(key) / 64; }
constexpr unsigned kWordsPerLeaf = sizeof(abi::RadixLeaf) / sizeof(uint64_t);

absl::Status Corrupt(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("map of preserved memory: ", what));
}

std::string Describe(const abi::RadixEntry& block) {
  return absl::StrCat("the block of order ", block.order, " at ",
                      ToString(PhysicalAddress(block.address)));
}

}  // namespace

// Goes through a tree once, by ascending key, and so from the largest blocks to the smallest: what
// could overlap a block from above is in the map when its turn comes.
class PreservedMap::Reader {
 public:
  explicit Reader(const PhysicalMemory& memory) : memory_(memory) {}

  absl::StatusOr<PreservedMap> Run(PhysicalAddress root) {
    RETURN_IF_ERROR(ReadNode(root, abi::kRadixDepth - 1, 0));
    map_.nodes_.reserve(visited_.size());
    for (uint64_t node : visited_) {
      map_.nodes_.push_back(PhysicalAddress(node));
      const absl::StatusOr<abi::RadixEntry> block = map_.BlockOf(PhysicalAddress(node));
      if (block.ok()) {
        return Corrupt(absl::StrCat(Describe(*block), " holds a node of the tree itself"));
      }
    }
    std::sort(map_.nodes_.begin(), map_.nodes_.end());
    return std::move(map_);
  }

 private:
  absl::Status ReadNode(PhysicalAddress address, unsigned level, uint64_t key) {
    if (!address.IsPageAligned()) {
      return Corrupt(absl::StrCat("a node at ", ToString(address), ", which is no page's start"));
    }
    absl::StatusOr<absl::Span<const std::byte>> page = memory_.Read(address, abi::kPageSize);
    if (!page.ok()) return vmm::Annotate(page.status(), "map of preserved memory: node");
    // A page is one node at most: so every walk ends, after no more nodes than memory has pages.
    if (!visited_.insert(address.value()).second) {
      return Corrupt(absl::StrCat("the node at ", ToString(address), " is reached twice"));
    }
    if (level == 0) return ReadLeaf(*page, key >> abi::kRadixBitmapBits);
    abi::RadixNode node;
    memcpy(&node, page->data(), sizeof(node));
    for (uint64_t i = 0; i < std::size(node.table); ++i) {
      if (node.table[i] == 0) continue;
      const uint64_t below =
          key | i << ((level - 1) * abi::kRadixTableBits + abi::kRadixBitmapBits);
      if (std::bit_width(below) > static_cast<int>(abi::kRadixKeyWidth)) {
        return Corrupt(absl::StrCat("keys from ", absl::Hex(below), " on, which mean nothing"));
      }
      RETURN_IF_ERROR(ReadNode(PhysicalAddress(node.table[i]), level - 1, below));
    }
    return absl::OkStatus();
  }

  absl::Status ReadLeaf(absl::Span<const std::byte> page, uint64_t index) {
    auto leaf = std::make_unique<Leaf>();
    leaf->index = index;
    memcpy(&leaf->bits, page.data(), sizeof(leaf->bits));
    bool any = false;
    for (unsigned word = 0; word < kWordsPerLeaf; ++word) {
      const uint64_t bits = leaf->bits.bitmap[word];
      if (bits == 0) continue;
      any = true;
      const uint64_t key = index << abi::kRadixBitmapBits | word * 64;
      // The first leaf is the only one that several orders share.
      RETURN_IF_ERROR(index == 0 ? CheckKeys(key, bits) : CheckWord(key, bits));
    }
    if (!any) return absl::OkStatus();
    map_.by_index_.emplace(index, leaf.get());
    map_.leaves_.push_back(std::move(leaf));
    map_.orders_present_ |= orders_of_leaf_;
    orders_of_leaf_ = 0;
    return absl::OkStatus();
  }

  absl::Status CheckKeys(uint64_t first, uint64_t bits) {
    for (; bits != 0; bits &= bits - 1) {
      const uint64_t key = first + static_cast<unsigned>(std::countr_zero(bits));
      const std::optional<abi::RadixEntry> block = abi::DecodeRadixKey(key);
      if (!block) return Corrupt(absl::StrCat("the key ", key, ", which means nothing"));
      RETURN_IF_ERROR(CheckInMemory(*block));
      // Blocks of 2^50 bytes and more, so there are few, if any.
      for (const abi::RadixEntry& other : giants_) {
        if (((block->address ^ other.address) & ~(BytesOfOrder(other.order) - 1)) == 0) {
          return Overlap(*block, other);
        }
      }
      giants_.push_back(*block);
      Count(block->order, 1);
    }
    return absl::OkStatus();
  }

  // The blocks of one word: all of one order, next to one another.
  absl::Status CheckWord(uint64_t key, uint64_t bits) {
    const abi::RadixEntry first = *abi::DecodeRadixKey(key);
    const unsigned order = first.order;
    if (!memory_.Contains(PhysicalAddress(first.address), BytesOfOrder(order) * 64)) {
      for (uint64_t left = bits; left != 0; left &= left - 1) {
        const unsigned i = static_cast<unsigned>(std::countr_zero(left));
        RETURN_IF_ERROR(CheckInMemory(*abi::DecodeRadixKey(key + i)));
      }
    }
    // In what follows, of this leaf nothing is in the map yet.
    for (uint64_t orders = map_.orders_present_ >> (order + 1) << (order + 1); orders != 0;
         orders &= orders - 1) {
      const unsigned larger = static_cast<unsigned>(std::countr_zero(orders));
      const unsigned up = larger - order;
      const uint64_t around = abi::EncodeRadixKey(first.address, larger);
      const Leaf* leaf = map_.FindLeaf(around >> abi::kRadixBitmapBits, larger);
      if (leaf == nullptr) continue;
      const uint64_t theirs = leaf->bits.bitmap[Word(around)] >> (around % 64);
      if (up >= 6) {
        // One of theirs covers the whole word.
        if ((theirs & 1) != 0) return OverlapAt(key, bits, around);
        continue;
      }
      if ((theirs & ((uint64_t{1} << (64 >> up)) - 1)) == 0) continue;
      for (uint64_t left = bits; left != 0; left &= left - 1) {
        const unsigned i = static_cast<unsigned>(std::countr_zero(left));
        if ((theirs >> (i >> up) & 1) != 0) {
          return OverlapAt(key, uint64_t{1} << i, around + (i >> up));
        }
      }
    }
    Count(order, static_cast<uint64_t>(std::popcount(bits)));
    return absl::OkStatus();
  }

  absl::Status CheckInMemory(const abi::RadixEntry& block) const {
    if (memory_.Contains(PhysicalAddress(block.address), BytesOfOrder(block.order))) {
      return absl::OkStatus();
    }
    return absl::OutOfRangeError(
        absl::StrCat("map of preserved memory: ", Describe(block), " lies outside memory"));
  }

  static absl::Status Overlap(const abi::RadixEntry& one, const abi::RadixEntry& other) {
    return Corrupt(absl::StrCat(Describe(one), " lies in ", Describe(other)));
  }
  static absl::Status OverlapAt(uint64_t key, uint64_t bits, uint64_t around) {
    return Overlap(*abi::DecodeRadixKey(key + static_cast<unsigned>(std::countr_zero(bits))),
                   *abi::DecodeRadixKey(around));
  }

  void Count(unsigned order, uint64_t blocks) {
    orders_of_leaf_ |= uint64_t{1} << order;
    map_.blocks_ += blocks;
    map_.pages_ += blocks << order;
  }

  const PhysicalMemory& memory_;
  PreservedMap map_;
  absl::flat_hash_set<uint64_t> visited_;
  std::vector<abi::RadixEntry> giants_;
  uint64_t orders_of_leaf_ = 0;
};

absl::StatusOr<PreservedMap> PreservedMap::Read(const PhysicalMemory& memory,
                                                PhysicalAddress root) {
  return Reader(memory).Run(root);
}

absl::Status PreservedMap::ForEach(Visitor visit) const {
  for (const std::unique_ptr<Leaf>& leaf : leaves_) {
    for (unsigned word = 0; word < kWordsPerLeaf; ++word) {
      const uint64_t first = leaf->index << abi::kRadixBitmapBits | word * 64;
      for (uint64_t bits = leaf->bits.bitmap[word]; bits != 0; bits &= bits - 1) {
        const abi::RadixEntry block =
            *abi::DecodeRadixKey(first + static_cast<unsigned>(std::countr_zero(bits)));
        RETURN_IF_ERROR(visit(PhysicalAddress(block.address), block.order));
      }
    }
  }
  return absl::OkStatus();
}

PreservedMap::Leaf* PreservedMap::FindLeaf(uint64_t index, unsigned order) const {
  Leaf*& last = last_[order];
  if (last != nullptr && last->index == index) return last;
  const auto leaf = by_index_.find(index);
  if (leaf == by_index_.end()) return nullptr;
  return last = leaf->second;
}

bool PreservedMap::Has(PhysicalAddress address, unsigned order) const {
  const uint64_t key = abi::EncodeRadixKey(address.value(), order);
  const Leaf* leaf = FindLeaf(key >> abi::kRadixBitmapBits, order);
  return leaf != nullptr && (leaf->bits.bitmap[Word(key)] & Bit(key)) != 0;
}

absl::StatusOr<unsigned> PreservedMap::OrderAt(PhysicalAddress address) const {
  for (uint64_t orders = orders_present_; orders != 0; orders &= orders - 1) {
    const unsigned order = static_cast<unsigned>(std::countr_zero(orders));
    if (address.value() % BytesOfOrder(order) != 0) break;
    if (Has(address, order)) return order;
  }
  return absl::NotFoundError(absl::StrCat("no preserved block starts at ", ToString(address)));
}

absl::StatusOr<abi::RadixEntry> PreservedMap::BlockOf(PhysicalAddress address) const {
  for (uint64_t orders = orders_present_; orders != 0; orders &= orders - 1) {
    const unsigned order = static_cast<unsigned>(std::countr_zero(orders));
    if (Has(address, order)) {
      return abi::RadixEntry{address.value() & ~(BytesOfOrder(order) - 1), order};
    }
  }
  return absl::NotFoundError(absl::StrCat("the page at ", ToString(address), " is not preserved"));
}

bool PreservedMap::Covers(PhysicalRange range) const {
  if (range.wraps()) return false;
  uint64_t at = range.start.value();
  uint64_t left = range.size;
  while (left > 0) {
    const absl::StatusOr<abi::RadixEntry> block = BlockOf(PhysicalAddress(at));
    if (!block.ok()) return false;
    const uint64_t here = BytesOfOrder(block->order) - (at - block->address);
    if (here >= left) return true;
    at += here;
    left -= here;
  }
  return true;
}

std::optional<abi::RadixEntry> PreservedMap::FindIn(PhysicalRange range) const {
  if (range.size == 0 || range.wraps()) return std::nullopt;
  const uint64_t begin = range.start.value();
  const uint64_t last = begin + (range.size - 1);
  for (const std::unique_ptr<Leaf>& leaf : leaves_) {
    const uint64_t base = leaf->index << abi::kRadixBitmapBits;
    uint64_t from = 0;
    uint64_t to = (uint64_t{1} << abi::kRadixBitmapBits) - 1;
    if (leaf->index != 0) {
      // All of one order: which bits the range can be about is arithmetic.
      const abi::RadixEntry first = *abi::DecodeRadixKey(base);
      const unsigned shift = abi::kPageShift + first.order;
      if (last < first.address) continue;
      if (begin > first.address) from = (begin - first.address) >> shift;
      to = std::min(to, (last - first.address) >> shift);
    }
    for (uint64_t bit = from; bit <= to;) {
      const uint64_t bits = leaf->bits.bitmap[bit / 64] >> (bit % 64);
      if (bits == 0) {
        bit = (bit / 64 + 1) * 64;
        continue;
      }
      bit += static_cast<unsigned>(std::countr_zero(bits));
      if (bit > to) break;
      const abi::RadixEntry block = *abi::DecodeRadixKey(base + bit);
      if (range.Overlaps({PhysicalAddress(block.address), BytesOfOrder(block.order)})) {
        return block;
      }
      ++bit;
    }
  }
  return std::nullopt;
}

bool PreservedMap::Take(PhysicalAddress address, unsigned order) {
  const uint64_t key = abi::EncodeRadixKey(address.value(), order);
  Leaf* leaf = FindLeaf(key >> abi::kRadixBitmapBits, order);
  if (leaf == nullptr || (leaf->bits.bitmap[Word(key)] & Bit(key)) == 0) return false;
  leaf->bits.bitmap[Word(key)] &= ~Bit(key);
  --blocks_;
  pages_ -= uint64_t{1} << order;
  return true;
}

void PreservedMap::Put(PhysicalAddress address, unsigned order) {
  const uint64_t key = abi::EncodeRadixKey(address.value(), order);
  Leaf* leaf = FindLeaf(key >> abi::kRadixBitmapBits, order);
  if (leaf == nullptr || (leaf->bits.bitmap[Word(key)] & Bit(key)) != 0) return;
  leaf->bits.bitmap[Word(key)] |= Bit(key);
  ++blocks_;
  pages_ += uint64_t{1} << order;
}

}  // namespace luo
