#include "luo_kernel/kho/extent_memory.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utility>

namespace luo {
namespace {

using ::testing::Each;

constexpr uint64_t kPage = abi::kPageSize;
constexpr uint64_t kMiB = 1 << 20;
constexpr uint64_t kGiB = 1 << 30;

vmm::UniqueFd File(uint64_t size) { return NewMemoryFile("test", size).value(); }

TEST(ExtentMemoryTest, WhatIsWrittenAtAnAddressIsInTheFile) {
  ExtentMemory memory;
  vmm::UniqueFd file = File(4 * kPage);
  vmm::UniqueFd same(dup(file.get()));
  ASSERT_TRUE(
      memory.Add(PhysicalAddress(kPage), std::move(file), kPage, 2 * kPage, ExtentUse::kMetadata)
          .ok());
  EXPECT_EQ(memory.size(), 2 * kPage);
  ASSERT_TRUE(WriteStruct(memory, PhysicalAddress(kPage + 8), uint64_t{0x1234}).ok());
  uint64_t value = 0;
  ASSERT_EQ(pread(same.get(), &value, sizeof(value), kPage + 8), 8);
  EXPECT_EQ(value, 0x1234u);
  EXPECT_EQ(ReadStruct<uint64_t>(memory, PhysicalAddress(kPage + 8)).value(), 0x1234u);
}

TEST(ExtentMemoryTest, AccessesAreBoundByTheExtent) {
  ExtentMemory memory;
  ASSERT_TRUE(memory.Add(PhysicalAddress(kPage), File(kPage), 0, kPage, ExtentUse::kMetadata).ok());
  ASSERT_TRUE(
      memory.Add(PhysicalAddress(2 * kPage), File(kPage), 0, kPage, ExtentUse::kMetadata).ok());
  EXPECT_TRUE(memory.Read(PhysicalAddress(kPage), kPage).ok());
  EXPECT_TRUE(memory.Read(PhysicalAddress(2 * kPage - 1), 1).ok());
  for (const auto& [address, size] : std::initializer_list<std::pair<uint64_t, uint64_t>>{
           {0, 1},
           {kPage - 1, 1},
           {kPage, kPage + 1},  // into the next, which is another file
           {3 * kPage - 1, 2},
           {3 * kPage, 1},
           {kPage, ~uint64_t{0}},
           {~uint64_t{0}, 2},
       }) {
    EXPECT_EQ(memory.Read(PhysicalAddress(address), size).status().code(),
              absl::StatusCode::kOutOfRange)
        << address << " " << size;
    EXPECT_EQ(memory.Write(PhysicalAddress(address), size).status().code(),
              absl::StatusCode::kOutOfRange);
  }
}

TEST(ExtentMemoryTest, ContainsGoesOverNeighbouringExtents) {
  ExtentMemory memory;
  for (uint64_t at : {1, 2, 4}) {
    ASSERT_TRUE(
        memory.Add(PhysicalAddress(at * kPage), File(kPage), 0, kPage, ExtentUse::kData).ok());
  }
  EXPECT_TRUE(memory.Contains(PhysicalAddress(kPage), 2 * kPage));
  EXPECT_TRUE(memory.Contains(PhysicalAddress(kPage + 1), 2 * kPage - 1));
  EXPECT_FALSE(memory.Contains(PhysicalAddress(kPage), 2 * kPage + 1));
  EXPECT_FALSE(memory.Contains(PhysicalAddress(0), 1));
  EXPECT_FALSE(memory.Contains(PhysicalAddress(4 * kPage), ~uint64_t{0}));
  EXPECT_FALSE(memory.Contains(PhysicalAddress(~uint64_t{0}), 2));
}

TEST(ExtentMemoryTest, DataHasAddressesAndNoBytes) {
  ExtentMemory memory;
  absl::StatusOr<PhysicalAddress> at = memory.AddAnywhere(File(kMiB), 0, kMiB, ExtentUse::kData);
  ASSERT_TRUE(at.ok()) << at.status();
  EXPECT_TRUE(memory.Contains(*at, kMiB));
  EXPECT_EQ(memory.Read(*at, 1).status().code(), absl::StatusCode::kPermissionDenied);
  EXPECT_EQ(memory.Write(*at, 1).status().code(), absl::StatusCode::kPermissionDenied);
}

TEST(ExtentMemoryTest, RefusesWhatIsNoExtent) {
  ExtentMemory memory;
  const auto add = [&](uint64_t address, uint64_t offset, uint64_t size) {
    return memory.Add(PhysicalAddress(address), File(2 * kPage), offset, size, ExtentUse::kMetadata)
        .code();
  };
  EXPECT_EQ(add(1, 0, kPage), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(add(0, 1, kPage), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(add(0, 0, kPage + 1), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(add(0, 0, 0), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(add(0, 0, 3 * kPage), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(add(0, 2 * kPage, kPage), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(add(0, ~uint64_t{0xfff}, kPage), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(add(uint64_t{1} << 52, 0, kPage), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(add((uint64_t{1} << 52) - kPage, 0, 2 * kPage), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(add(~uint64_t{0xfff}, 0, kPage), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(memory.size(), 0u);

  vmm::UniqueFd unsealed(memfd_create("test", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  ASSERT_EQ(ftruncate(unsealed.get(), kPage), 0);
  vmm::UniqueFd same(dup(unsealed.get()));
  EXPECT_EQ(
      memory.Add(PhysicalAddress(0), std::move(unsealed), 0, kPage, ExtentUse::kMetadata).code(),
      absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(memory.Add(PhysicalAddress(0), std::move(same), 0, kPage, ExtentUse::kData).ok());
  EXPECT_FALSE(
      memory.Add(PhysicalAddress(kPage), vmm::UniqueFd(), 0, kPage, ExtentUse::kData).ok());
}

TEST(ExtentMemoryTest, ExtentsDoNotOverlap) {
  ExtentMemory memory;
  ASSERT_TRUE(
      memory.Add(PhysicalAddress(4 * kPage), File(2 * kPage), 0, 2 * kPage, ExtentUse::kData).ok());
  for (uint64_t at : {3, 4, 5}) {
    EXPECT_EQ(
        memory.Add(PhysicalAddress(at * kPage), File(2 * kPage), 0, 2 * kPage, ExtentUse::kData)
            .code(),
        absl::StatusCode::kAlreadyExists)
        << at;
  }
  EXPECT_TRUE(
      memory.Add(PhysicalAddress(2 * kPage), File(2 * kPage), 0, 2 * kPage, ExtentUse::kData).ok());
  EXPECT_TRUE(
      memory.Add(PhysicalAddress(6 * kPage), File(2 * kPage), 0, 2 * kPage, ExtentUse::kData).ok());
  EXPECT_EQ(memory.extents().size(), 3u);
}

TEST(ExtentMemoryTest, AnywhereIsAlignedForTheLargestFolioAndFillsGaps) {
  ExtentMemory memory;
  const auto anywhere = [&](uint64_t size) {
    return memory.AddAnywhere(File(size), 0, size, ExtentUse::kData).value().value();
  };
  const uint64_t floor = ExtentMemory::kFloor.value();
  EXPECT_EQ(anywhere(kPage), floor);
  EXPECT_EQ(anywhere(4 * kMiB), floor + 4 * kMiB);
  EXPECT_EQ(anywhere(2 * kMiB + kPage), floor + 8 * kMiB);
  EXPECT_EQ(anywhere(3 * kGiB), floor + kGiB);
  EXPECT_EQ(anywhere(2 * kMiB), floor + 2 * kMiB);
  EXPECT_EQ(anywhere(3 * kPage), floor + 2 * kPage);
  EXPECT_EQ(memory.AddAnywhere(File(kPage), 0, 0, ExtentUse::kData).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(memory.AddAnywhere(File(kPage), 0, ~uint64_t{0}, ExtentUse::kData).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(ExtentMemoryTest, WhatIsRemovedHasNoAddressAndItsFileComesBack) {
  ExtentMemory memory;
  const PhysicalAddress at(kPage);
  ASSERT_TRUE(memory.Add(at, File(2 * kPage), 0, 2 * kPage, ExtentUse::kMetadata).ok());
  ASSERT_TRUE(WriteStruct(memory, at, uint32_t{77}).ok());
  EXPECT_EQ(memory.Remove(PhysicalAddress(2 * kPage)).status().code(), absl::StatusCode::kNotFound);
  const Extent extent = memory.Find(PhysicalAddress(2 * kPage + 5)).value();
  EXPECT_EQ(extent.range, (PhysicalRange{at, 2 * kPage}));

  absl::StatusOr<vmm::UniqueFd> file = memory.Remove(at);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->get(), extent.fd);
  uint32_t value = 0;
  EXPECT_EQ(pread(file->get(), &value, sizeof(value), 0), 4);
  EXPECT_EQ(value, 77u);
  EXPECT_EQ(memory.size(), 0u);
  EXPECT_FALSE(memory.Contains(at, 1));
  EXPECT_EQ(memory.Read(at, 1).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(memory.Find(at).status().code(), absl::StatusCode::kNotFound);
}

TEST(ExtentMemoryTest, MemoryFilesKeepTheirSize) {
  vmm::UniqueFd file = File(kPage);
  EXPECT_NE(ftruncate(file.get(), 0), 0);
  EXPECT_NE(ftruncate(file.get(), 2 * kPage), 0);
  EXPECT_FALSE(NewMemoryFile("test", ~uint64_t{0}).ok());
}

TEST(PhysicalRangeTest, OverlapAndContainmentMindTheEndOfTheNumbers) {
  const PhysicalRange last{PhysicalAddress(~uint64_t{0xfff}), 0x1000};
  EXPECT_FALSE(last.wraps());
  EXPECT_TRUE(last.Contains(PhysicalAddress(~uint64_t{0})));
  EXPECT_FALSE(last.Contains(PhysicalAddress(~uint64_t{0}), 2));
  EXPECT_TRUE(last.Overlaps({PhysicalAddress(~uint64_t{0}), 1}));
  const PhysicalRange wrapping{PhysicalAddress(~uint64_t{0xfff}), 0x1001};
  EXPECT_TRUE(wrapping.wraps());
  EXPECT_FALSE(wrapping.Contains(PhysicalAddress(~uint64_t{0})));
  EXPECT_FALSE(wrapping.Overlaps(last));
  EXPECT_FALSE((PhysicalRange{PhysicalAddress(5), 0}).Overlaps({PhysicalAddress(0), 10}));
  EXPECT_EQ(PhysicalAddress(1).CheckedAdd(~uint64_t{0}), std::nullopt);
}

}  // namespace
}  // namespace luo
