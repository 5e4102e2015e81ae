// Random calls against a model, over several kexecs: what is handed over is what a std::map says
// was preserved.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <map>
#include <optional>
#include <random>
#include <utility>
#include <vector>

#include "luo_kernel/kho/block_list.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/kho/test_machine.h"

namespace luo {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
constexpr uint64_t kDataSize = uint64_t{512} << 20;
constexpr uint64_t kDataPages = kDataSize / kPage;

// What is preserved: first page -> pages, of each call; data pages only.
using Model = std::map<uint64_t, uint64_t>;

bool Overlaps(const Model& model, uint64_t first, uint64_t pages) {
  auto next = model.lower_bound(first);
  if (next != model.end() && next->first < first + pages) return true;
  return next != model.begin() && (--next)->first + next->second > first;
}

// One machine that goes through kexecs; the process keeps nothing but the model, the memory, and
// what a kernel is told.
class Life {
 public:
  explicit Life(uint32_t seed) : random_(seed) {}

  void Run() {
    for (int kexec = 0; kexec < 4; ++kexec) {
      if (::testing::Test::HasFatalFailure()) return;
      OneKernel();
    }
  }

 private:
  uint64_t Below(uint64_t bound) { return random_() % bound; }

  void OneKernel() {
    folios_.clear();
    runs_.clear();
    areas_.clear();
    area_order_.clear();
    blocks_.clear();
    // Every kernel starts with all memory free but what the one before preserved, and lets go of
    // that at once.
    arena_.emplace(machine_.NewArena());
    if (data_told_) {
      IncomingHandover incoming = IncomingHandover::Open(machine_.memory(), *data_told_).value();
      ASSERT_TRUE(incoming.Reserve(*arena_).ok());
      arena_.emplace(machine_.NewArena());
    }
    OutgoingHandover out =
        OutgoingHandover::Create(&machine_.memory(), &*arena_, {machine_.scratch()}).value();
    for (int step = 0; step < 1500; ++step) {
      Step(out);
      if (::testing::Test::HasFatalFailure()) return;
    }
    std::vector<std::pair<PhysicalAddress, uint64_t>> lists;
    for (int i = 0; i < 3; ++i) {
      BlockListWriter writer(&out, sizeof(uint64_t));
      const uint64_t count = Below(2000);
      ASSERT_TRUE(writer.Grow(count).ok());
      for (uint64_t n = 0; n < count; ++n) ASSERT_TRUE(writer.Append(n * n).ok());
      lists.push_back({writer.head(), count});
    }
    data_told_ = out.data();
    Check(out.preserved_pages(), lists);
  }

  void Step(OutgoingHandover& out) {
    switch (Below(8)) {
      case 0:
      case 1:
      case 2: {
        const unsigned order = Below(4) == 0 ? 9 : Below(11);
        const uint64_t first = Below(kDataPages) >> order << order;
        const bool free = !Taken(first, uint64_t{1} << order);
        const absl::Status status = out.PreserveFolio(At(first), order);
        ASSERT_EQ(status.ok(), free) << status;
        if (free) folios_[first] = uint64_t{1} << order;
        break;
      }
      case 3: {
        const uint64_t first = Below(kDataPages);
        const uint64_t pages = std::min(1 + Below(Below(8) == 0 ? 5000 : 40), kDataPages - first);
        const bool free = !Taken(first, pages);
        ASSERT_EQ(out.PreservePages(At(first), pages).ok(), free);
        if (free) runs_[first] = pages;
        break;
      }
      case 4: {
        const unsigned order = Below(3);
        std::vector<PhysicalAddress> blocks;
        Model mine;
        bool free = true;
        for (uint64_t i = 0, count = 1 + Below(Below(8) == 0 ? 600 : 5); i < count; ++i) {
          const uint64_t first = Below(kDataPages >> order) << order;
          free = free && !Taken(first, uint64_t{1} << order) &&
                 !Overlaps(mine, first, uint64_t{1} << order);
          if (first + (uint64_t{1} << order) > kDataPages) free = false;
          mine[first] = uint64_t{1} << order;
          blocks.push_back(At(first));
        }
        const absl::StatusOr<abi::Vmalloc> area = out.PreserveVmalloc(blocks, order, 3);
        ASSERT_EQ(area.ok(), free) << area.status();
        if (!free) break;
        blocks_.insert(mine.begin(), mine.end());
        areas_.push_back(*area);
        area_order_.push_back(blocks);
        break;
      }
      case 5: {  // an exact one, or nearly
        if (folios_.empty()) break;
        auto folio = Pick(folios_);
        const unsigned order = static_cast<unsigned>(std::countr_zero(folio->second));
        const unsigned other = Below(4) == 0 ? static_cast<unsigned>(Below(12)) : order;
        ASSERT_EQ(out.UnpreserveFolio(At(folio->first), other).ok(), other == order);
        if (other == order) folios_.erase(folio);
        break;
      }
      case 6: {
        if (runs_.empty()) break;
        auto run = Pick(runs_);
        ASSERT_TRUE(out.UnpreservePages(At(run->first), run->second).ok());
        ASSERT_FALSE(out.UnpreservePages(At(run->first), run->second).ok());
        runs_.erase(run);
        break;
      }
      case 7: {
        if (areas_.empty()) break;
        const size_t which = Below(areas_.size());
        ASSERT_TRUE(out.UnpreserveVmalloc(areas_[which]).ok());
        for (PhysicalAddress block : area_order_[which]) blocks_.erase(PageOf(block));
        areas_.erase(areas_.begin() + static_cast<ptrdiff_t>(which));
        area_order_.erase(area_order_.begin() + static_cast<ptrdiff_t>(which));
        break;
      }
    }
  }

  // The kernel that comes: it has the memory and what it was told, and finds just that.
  void Check(uint64_t preserved_pages,
             const std::vector<std::pair<PhysicalAddress, uint64_t>>& lists) {
    absl::StatusOr<IncomingHandover> incoming =
        IncomingHandover::Open(machine_.memory(), *data_told_);
    ASSERT_TRUE(incoming.ok()) << incoming.status();
    EXPECT_EQ(incoming->preserved().pages(), preserved_pages);
    std::vector<bool> expected(kDataPages);
    for (const Model* model : {&folios_, &runs_, &blocks_}) {
      for (const auto& [first, pages] : *model) {
        std::fill_n(expected.begin() + static_cast<ptrdiff_t>(first), pages, true);
      }
    }
    std::vector<bool> found(kDataPages);
    ASSERT_TRUE(incoming->preserved()
                    .ForEach([&](PhysicalAddress address, unsigned order) {
                      if (address < base_) return absl::OkStatus();
                      for (uint64_t i = 0; i < uint64_t{1} << order; ++i) {
                        EXPECT_FALSE(found[PageOf(address) + i]);
                        found[PageOf(address) + i] = true;
                      }
                      return absl::OkStatus();
                    })
                    .ok());
    EXPECT_TRUE(found == expected);
    for (int i = 0; i < 300; ++i) {
      const uint64_t first = Below(kDataPages);
      const uint64_t pages = 1 + Below(std::min<uint64_t>(kDataPages - first, 600));
      const auto begin = expected.begin() + static_cast<ptrdiff_t>(first);
      const auto end = begin + static_cast<ptrdiff_t>(pages);
      const PhysicalRange range{At(first), pages * kPage};
      ASSERT_EQ(incoming->preserved().FindIn(range).has_value(),
                std::find(begin, end, true) != end);
      ASSERT_EQ(incoming->preserved().Covers(range), std::find(begin, end, false) == end);
      ASSERT_EQ(incoming->preserved().BlockOf(At(first)).ok(), *begin);
    }
    for (const auto& [first, pages] : folios_) {
      ASSERT_EQ(uint64_t{1} << incoming->RestoreFolio(At(first)).value(), pages);
      ASSERT_FALSE(incoming->RestoreFolio(At(first)).ok());
    }
    for (const auto& [first, pages] : runs_) {
      ASSERT_TRUE(incoming->RestorePages(At(first), pages).ok());
    }
    for (size_t i = 0; i < areas_.size(); ++i) {
      const absl::StatusOr<VmallocArea> area = incoming->RestoreVmalloc(areas_[i]);
      ASSERT_TRUE(area.ok()) << area.status();
      EXPECT_EQ(area->blocks, area_order_[i]);
    }
    for (const auto& [head, count] : lists) {
      const absl::StatusOr<BlockList> list =
          ReadBlockList(machine_.memory(), head, sizeof(uint64_t));
      ASSERT_TRUE(list.ok()) << list.status();
      ASSERT_EQ(list->size(), count);
      for (uint64_t n = 0; n < count; ++n) ASSERT_EQ(list->Get<uint64_t>(n), n * n);
      ASSERT_TRUE(RestoreBlocks(*incoming, *list).ok());
    }
    // The root is what is left.
    EXPECT_EQ(incoming->preserved().pages(), 1u);
  }

  Model::iterator Pick(Model& model) {
    auto it = model.lower_bound(Below(kDataPages));
    return it == model.end() ? model.begin() : it;
  }
  bool Taken(uint64_t first, uint64_t pages) const {
    return Overlaps(folios_, first, pages) || Overlaps(runs_, first, pages) ||
           Overlaps(blocks_, first, pages);
  }
  PhysicalAddress At(uint64_t page) const { return PhysicalAddress(base_.value() + page * kPage); }
  uint64_t PageOf(PhysicalAddress address) const {
    return (address.value() - base_.value()) / kPage;
  }

  std::mt19937_64 random_;
  TestMachine machine_;
  const PhysicalAddress base_ = machine_.AddData(kDataSize);
  std::optional<Arena> arena_;
  std::optional<abi::KhoData> data_told_;
  Model folios_;
  Model runs_;
  Model blocks_;  // of vmalloc areas
  std::vector<abi::Vmalloc> areas_;
  std::vector<std::vector<PhysicalAddress>> area_order_;
};

class HandoverPropertyTest : public ::testing::TestWithParam<uint32_t> {};

TEST_P(HandoverPropertyTest, WhatIsHandedOverIsWhatWasPreserved) { Life(GetParam()).Run(); }

INSTANTIATE_TEST_SUITE_P(Seeds, HandoverPropertyTest, ::testing::Range(uint32_t{1}, uint32_t{21}));

}  // namespace
}  // namespace luo
