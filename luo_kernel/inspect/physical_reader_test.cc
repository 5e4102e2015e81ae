#include "luo_kernel/inspect/physical_reader.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace luo {
namespace {

using ::testing::ElementsAre;
using ::testing::Lt;
using ::testing::SizeIs;

constexpr uint64_t kPage = 4096;
constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;

// Memory from 0 on of which only `readable` can be read.
class FakeHoleyMemory : public PhysicalReader {
 public:
  FakeHoleyMemory(uint64_t size, std::vector<MemoryRange> readable)
      : ranges_{{.address = 0, .size = size}}, readable_(std::move(readable)) {}

  const std::vector<MemoryRange>& ranges() const override { return ranges_; }
  absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const override {
    ++reads_;
    for (const MemoryRange& range : readable_) {
      if (address < range.address || address + out.size() > range.address + range.size) continue;
      for (uint64_t i = 0; i < out.size(); i += kPage) {
        out[i] = static_cast<uint8_t>((address + i) / kPage);
      }
      return absl::OkStatus();
    }
    return absl::OutOfRangeError("unreadable");
  }

  uint64_t reads() const { return reads_; }
  std::vector<uint64_t> Visited() const {
    std::vector<uint64_t> visited;
    ForEachPage([&](uint64_t address, absl::Span<const uint8_t> page) {
      EXPECT_EQ(page.size(), kPage);
      EXPECT_EQ(page[0], static_cast<uint8_t>(address / kPage));
      visited.push_back(address);
    });
    return visited;
  }

 protected:
  const std::vector<MemoryRange> ranges_;
  const std::vector<MemoryRange> readable_;
  mutable uint64_t reads_ = 0;
};

TEST(PhysicalReaderTest, APageThatCannotBeReadHidesNoOther) {
  for (const uint64_t hole : {uint64_t{0}, 100 * kPage, kMiB - kPage, kMiB, 3 * kMiB - kPage}) {
    SCOPED_TRACE(hole);
    const uint64_t after = hole + kPage;
    const FakeHoleyMemory memory(3 * kMiB, {{0, hole}, {after, 3 * kMiB - after}});
    const std::vector<uint64_t> visited = memory.Visited();
    EXPECT_THAT(visited, SizeIs(3 * kMiB / kPage - 1));
    EXPECT_TRUE(std::is_sorted(visited.begin(), visited.end()));
    EXPECT_EQ(std::count(visited.begin(), visited.end(), hole), 0);
    EXPECT_THAT(memory.reads(), Lt(60u));
  }
}

TEST(PhysicalReaderTest, APageAmongThoseThatCannotBeReadIsVisited) {
  const FakeHoleyMemory memory(64 * kMiB, {{0x5000, kPage}, {40 * kMiB + 0x7000, kPage}});
  EXPECT_THAT(memory.Visited(), ElementsAre(0x5000, 40 * kMiB + 0x7000));
}

TEST(PhysicalReaderTest, MuchThatCannotBeReadTakesLittleTime) {
  const FakeHoleyMemory memory(1024 * kGiB, {{1000 * kGiB, 2 * kMiB}});
  EXPECT_THAT(memory.Visited(), SizeIs(2 * kMiB / kPage));
  EXPECT_THAT(memory.reads(), Lt(1024 * kGiB / kMiB + 3 * (256 * kMiB / kPage)));
}

class FakeMemoryWithKnownHoles : public FakeHoleyMemory {
 public:
  using FakeHoleyMemory::FakeHoleyMemory;
  uint64_t NextReadable(uint64_t address) const override {
    for (const MemoryRange& range : readable_) {
      if (address < range.address + range.size) return std::max(address, range.address);
    }
    return UINT64_MAX;
  }
};

TEST(PhysicalReaderTest, WhatIsKnownToBeUnreadableIsNotAskedFor) {
  const FakeMemoryWithKnownHoles memory(1024 * kGiB, {{kGiB, kPage}, {1000 * kGiB, 2 * kPage}});
  EXPECT_THAT(memory.Visited(), ElementsAre(kGiB, 1000 * kGiB, 1000 * kGiB + kPage));
  EXPECT_THAT(memory.reads(), Lt(30u));
}

}  // namespace
}  // namespace luo
