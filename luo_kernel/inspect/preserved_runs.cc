#include "luo_kernel/inspect/preserved_runs.h"

#include <algorithm>
#include <array>
#include <bit>
#include <string>
#include <unordered_set>
#include <utility>

#include "absl/strings/str_format.h"

namespace luo {
namespace {

// No real machine has more: 64 GiB of memory of which every other page is kept.
constexpr size_t kMaxRuns = 1 << 23;
// Of 256 TiB, more than any machine's memory.
constexpr unsigned kMaxOrder = 36;
// A tree with more keys that make no sense is none.
constexpr int kMaxBadKeys = 1000;

using Node = std::array<uint64_t, abi::kPageSize / sizeof(uint64_t)>;

}  // namespace

// One walk through the tree.
class PreservedRuns::Walk {
 public:
  Walk(const PhysicalReader& memory, PreservedRuns& map, Problems& problems)
      : memory_(memory), map_(map), problems_(problems) {}

  void VisitRoot(uint64_t address) {
    if (!IsNode(address)) {
      problems_.Add(absl::StrFormat("memory map: no node can be at %#x", address));
      return;
    }
    Visit(address, abi::kRadixDepth - 1, 0);
  }

 private:
  bool IsNode(uint64_t address) const {
    return address % abi::kPageSize == 0 && memory_.Has(address, abi::kPageSize);
  }

  // `key` has the bits that the levels above stand for.
  void Visit(uint64_t address, int level, uint64_t key) {
    if (!seen_.insert(address / abi::kPageSize).second) {
      problems_.Add(absl::StrFormat("memory map: the node at %#x is in the tree twice", address));
      return;
    }
    const absl::StatusOr<Node> node = memory_.Load<Node>(address);
    if (!node.ok()) {
      problems_.Add(absl::StrFormat("memory map: the node at %#x cannot be read", address));
      return;
    }
    ++map_.tree_pages_;
    if (level == 0) {
      VisitLeaf(*node, key);
      return;
    }
    const int shift = abi::kRadixBitmapBits + (level - 1) * abi::kRadixTableBits;
    uint64_t wrong = 0;
    uint64_t first_wrong = 0;
    for (uint64_t i = 0; i < node->size() && !stopped_; ++i) {
      const uint64_t next = (*node)[i];
      if (next == 0) continue;
      if (IsNode(next)) {
        Visit(next, level - 1, key | i << shift);
      } else if (wrong++ == 0) {
        first_wrong = next;
      }
    }
    // A line for all: a page that is no node any more has hundreds.
    if (wrong != 0) {
      problems_.Add(
          absl::StrFormat("memory map: %d of the addresses in the node at %#x can be no "
                          "nodes', the first is %#x",
                          wrong, address, first_wrong));
    }
  }

  void VisitLeaf(const Node& bitmap, uint64_t key) {
    for (uint64_t i = 0; i < bitmap.size() && !stopped_; ++i) {
      for (uint64_t word = bitmap[i]; word != 0; word &= word - 1) {
        AddKey(key | (i * 64 + std::countr_zero(word)));
      }
    }
  }

  void AddKey(uint64_t key) {
    const std::optional<abi::RadixEntry> entry = abi::DecodeRadixKey(key);
    if (!entry.has_value() || entry->order > kMaxOrder) {
      AddBadKey(absl::StrFormat("memory map: key %#x is out of range", key));
      return;
    }
    const auto [address, order] = *entry;
    const uint64_t block_bytes = abi::kPageSize << order;
    if (!memory_.Has(address, block_bytes)) {
      AddBadKey(
          absl::StrFormat("memory map: %#x, %d KiB, is not memory", address, block_bytes >> 10));
      return;
    }
    std::vector<PreservedRun>& runs = map_.runs_;
    if (!runs.empty() && runs.back().order == order &&
        runs.back().address + runs.back().size() == address) {
      ++runs.back().count;
      return;
    }
    if (runs.size() < kMaxRuns) {
      runs.push_back({.address = address, .count = 1, .order = order});
    } else if (!stopped_) {
      stopped_ = true;
      problems_.Add("memory map: in too many pieces, the rest is left out");
    }
  }

  void AddBadKey(std::string problem) {
    problems_.Add(std::move(problem));
    if (++bad_keys_ < kMaxBadKeys || stopped_) return;
    stopped_ = true;
    problems_.Add("memory map: too much of it is wrong, the rest is left out");
  }

  const PhysicalReader& memory_;
  PreservedRuns& map_;
  Problems& problems_;
  std::unordered_set<uint64_t> seen_;  // page numbers of nodes
  int bad_keys_ = 0;
  bool stopped_ = false;
};

PreservedRuns PreservedRuns::Read(const PhysicalReader& memory, uint64_t root, Problems& problems) {
  PreservedRuns map;
  Walk(memory, map, problems).VisitRoot(root);
  std::sort(map.runs_.begin(), map.runs_.end(),
            [](const PreservedRun& a, const PreservedRun& b) { return a.address < b.address; });
  // What overlaps is told, and the later one left out: the rest counts on there being no overlap.
  std::vector<PreservedRun> runs;
  for (const PreservedRun& run : map.runs_) {
    if (!runs.empty() && run.address < runs.back().address + runs.back().size()) {
      problems.Add(
          absl::StrFormat("memory map: %#x, %d blocks of %d KiB, overlaps %#x, %d blocks of %d KiB",
                          run.address, run.count, run.block_bytes() >> 10, runs.back().address,
                          runs.back().count, runs.back().block_bytes() >> 10));
      continue;
    }
    runs.push_back(run);
  }
  map.runs_ = std::move(runs);
  return map;
}

uint64_t PreservedRuns::bytes() const {
  uint64_t bytes = 0;
  for (const PreservedRun& run : runs_) bytes += run.size();
  return bytes;
}

std::map<uint64_t, uint64_t> PreservedRuns::CountBySize() const {
  std::map<uint64_t, uint64_t> counts;
  for (const PreservedRun& run : runs_) counts[run.block_bytes()] += run.count;
  return counts;
}

namespace {

// The last run that begins at or before `address`; end() where there is none.
std::vector<PreservedRun>::const_iterator RunBefore(const std::vector<PreservedRun>& runs,
                                                    uint64_t address) {
  auto next = std::upper_bound(
      runs.begin(), runs.end(), address,
      [](uint64_t wanted, const PreservedRun& run) { return wanted < run.address; });
  return next == runs.begin() ? runs.end() : next - 1;
}

}  // namespace

bool PreservedRuns::Covers(uint64_t address, uint64_t size) const {
  for (auto run = RunBefore(runs_, address); run != runs_.end() && size > 0; ++run) {
    if (address < run->address || address - run->address >= run->size()) return false;
    const uint64_t here = std::min(size, run->size() - (address - run->address));
    address += here;
    size -= here;
  }
  return size == 0;
}

std::optional<uint32_t> PreservedRuns::OrderAt(uint64_t address) const {
  const auto run = RunBefore(runs_, address);
  if (run == runs_.end()) return std::nullopt;
  const uint64_t offset = address - run->address;
  if (offset >= run->size() || offset % run->block_bytes() != 0) return std::nullopt;
  return run->order;
}

}  // namespace luo
