#include "devices/bus.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <limits>
#include <vector>

namespace vmm {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;

constexpr uint64_t kTop = std::numeric_limits<uint64_t>::max();

// Answers every read with its tag and remembers the last access.
class FakeBusDevice : public BusDevice {
 public:
  explicit FakeBusDevice(uint8_t tag = 0) : tag_(tag) {}
  void Read(uint64_t offset, absl::Span<uint8_t> data) override {
    ++accesses;
    last_offset = offset;
    memset(data.data(), tag_, data.size());
  }
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override {
    ++accesses;
    last_offset = offset;
    written.assign(data.begin(), data.end());
  }

  int accesses = 0;
  uint64_t last_offset = 0;
  std::vector<uint8_t> written;

 private:
  uint8_t tag_;
};

TEST(BusTest, RoutesToTheDeviceWithTheOffsetInItsRange) {
  FakeBusDevice low(1), high(2);
  Bus bus;
  ASSERT_TRUE(bus.Insert(0x3f8, 8, &low).ok());
  ASSERT_TRUE(bus.Insert(0x400, 8, &high).ok());

  uint8_t data[2];
  EXPECT_TRUE(bus.Read(0x3fe, absl::MakeSpan(data)));
  EXPECT_THAT(data, Each(1));
  EXPECT_EQ(low.last_offset, 6u);
  EXPECT_TRUE(bus.Write(0x400, {7, 8, 9, 10}));
  EXPECT_EQ(high.last_offset, 0u);
  EXPECT_THAT(high.written, ElementsAre(7, 8, 9, 10));
  EXPECT_EQ(low.accesses, 1);
}

TEST(BusTest, WhatNobodyAnswersReadsAllOnesAndIsWrittenNowhere) {
  FakeBusDevice device;
  Bus bus;
  ASSERT_TRUE(bus.Insert(0x100, 0x10, &device).ok());
  for (uint64_t address : {uint64_t{0}, uint64_t{0xff}, uint64_t{0x110}, kTop}) {
    uint8_t data[4] = {};
    EXPECT_FALSE(bus.Read(address, absl::MakeSpan(data))) << address;
    EXPECT_THAT(data, Each(0xff));
    EXPECT_FALSE(bus.Write(address, data)) << address;
  }
  EXPECT_EQ(device.accesses, 0);
}

TEST(BusTest, AnAccessAcrossTheEndOfARangeIsUnanswered) {
  FakeBusDevice device, neighbour;
  Bus bus;
  ASSERT_TRUE(bus.Insert(0x100, 4, &device).ok());
  ASSERT_TRUE(bus.Insert(0x104, 4, &neighbour).ok());
  uint8_t data[4] = {};
  EXPECT_FALSE(bus.Read(0x102, absl::MakeSpan(data)));
  EXPECT_THAT(data, Each(0xff));
  EXPECT_FALSE(bus.Write(0x102, data));
  EXPECT_FALSE(bus.Read(0xff, absl::MakeSpan(data)));
  EXPECT_EQ(device.accesses + neighbour.accesses, 0);
}

TEST(BusTest, OnlyPowersOfTwoUpToEightReachADevice) {
  FakeBusDevice device(5);
  Bus bus;
  ASSERT_TRUE(bus.Insert(0, 64, &device).ok());
  std::vector<uint8_t> data(16);
  for (size_t size = 0; size <= data.size(); ++size) {
    const bool valid = size == 1 || size == 2 || size == 4 || size == 8;
    EXPECT_EQ(bus.Read(0, absl::MakeSpan(data.data(), size)), valid) << size;
    EXPECT_EQ(bus.Write(0, absl::MakeConstSpan(data.data(), size)), valid) << size;
  }
  EXPECT_EQ(device.accesses, 8);
}

TEST(BusTest, RefusesEmptyAndWrappingRanges) {
  FakeBusDevice device;
  Bus bus;
  EXPECT_EQ(bus.Insert(0x10, 0, &device).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(bus.Insert(0, 0, &device).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(bus.Insert(kTop, 2, &device).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(bus.Insert(2, kTop, &device).code(), absl::StatusCode::kInvalidArgument);
}

TEST(BusTest, ARangeMayEndWithTheAddressSpace) {
  FakeBusDevice device(3);
  Bus bus;
  ASSERT_TRUE(bus.Insert(kTop - 3, 4, &device).ok());
  uint8_t data[4];
  EXPECT_TRUE(bus.Read(kTop - 3, absl::MakeSpan(data)));
  EXPECT_THAT(data, Each(3));
  EXPECT_FALSE(bus.Read(kTop - 2, absl::MakeSpan(data)));
}

TEST(BusTest, RefusesEveryKindOfOverlap) {
  FakeBusDevice device;
  Bus bus;
  ASSERT_TRUE(bus.Insert(0x100, 0x10, &device).ok());
  const std::pair<uint64_t, uint64_t> overlapping[] = {
      {0x100, 0x10}, {0x100, 1},       {0x10f, 1}, {0x10f, 0x100},
      {0xff, 2},     {0xff, 0x100000}, {0x104, 4}, {0, kTop},
  };
  for (const auto& [start, size] : overlapping) {
    EXPECT_EQ(bus.Insert(start, size, &device).code(), absl::StatusCode::kAlreadyExists)
        << start << " " << size;
  }
  EXPECT_TRUE(bus.Insert(0xff, 1, &device).ok());
  EXPECT_TRUE(bus.Insert(0x110, 1, &device).ok());
}

}  // namespace
}  // namespace vmm
