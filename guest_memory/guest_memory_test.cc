#include "guest_memory/guest_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

namespace vmm {
namespace {

using ::testing::Each;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint64_t kMiB = uint64_t{1} << 20;
constexpr uint64_t kGiB = uint64_t{1} << 30;
constexpr uint64_t kTiB = uint64_t{1} << 40;

GuestRange Range(uint64_t start, uint64_t size) { return {GuestAddress(start), size}; }

MemfdRegion Region(uint64_t start, uint64_t size) {
  return *MemfdRegion::Create(Range(start, size), HugePages::kOff);
}

template <typename... Regions>
absl::StatusOr<GuestMemory> FromRegions(Regions... region) {
  std::vector<MemfdRegion> regions;
  (regions.push_back(std::move(region)), ...);
  return GuestMemory::FromRegions(std::move(regions));
}

// RAM at [0, 4 MiB) and [4, 6 MiB), which touch, and [8, 10 MiB), which lies apart.
GuestMemory ThreeRegions() {
  return *FromRegions(Region(0, 4 * kMiB), Region(4 * kMiB, 2 * kMiB), Region(8 * kMiB, 2 * kMiB));
}

std::vector<uint8_t> Counting(size_t size) {
  std::vector<uint8_t> bytes(size);
  std::iota(bytes.begin(), bytes.end(), uint8_t{1});
  return bytes;
}

UniqueFd FileOf(const std::vector<uint8_t>& bytes) {
  UniqueFd fd(memfd_create("image", MFD_CLOEXEC));
  EXPECT_EQ(pwrite(fd.get(), bytes.data(), bytes.size(), 0), static_cast<ssize_t>(bytes.size()));
  return fd;
}

TEST(SplitGuestRamTest, LeavesThePciHoleOut) {
  EXPECT_THAT(*SplitGuestRam(4096), ElementsAre(Range(0, 4096)));
  EXPECT_THAT(*SplitGuestRam(512 * kMiB), ElementsAre(Range(0, 512 * kMiB)));
  EXPECT_THAT(*SplitGuestRam(3 * kGiB), ElementsAre(Range(0, 3 * kGiB)));
  EXPECT_THAT(*SplitGuestRam(3 * kGiB + 4096),
              ElementsAre(Range(0, 3 * kGiB), Range(4 * kGiB, 4096)));
  EXPECT_THAT(*SplitGuestRam(64 * kGiB),
              ElementsAre(Range(0, 3 * kGiB), Range(4 * kGiB, 61 * kGiB)));
}

TEST(SplitGuestRamTest, KeepsRegionsBelowWhatTheKernelPreserves) {
  EXPECT_THAT(*SplitGuestRam(515 * kGiB),
              ElementsAre(Range(0, 3 * kGiB), Range(4 * kGiB, 512 * kGiB)));
  EXPECT_THAT(*SplitGuestRam(kTiB), ElementsAre(Range(0, 3 * kGiB), Range(4 * kGiB, 512 * kGiB),
                                                Range(516 * kGiB, 509 * kGiB)));
}

TEST(SplitGuestRamTest, RangesOfTheLargestGuestAreInOrderAndAligned) {
  absl::StatusOr<std::vector<GuestRange>> ranges = SplitGuestRam(kMaxGuestRam);
  ASSERT_TRUE(ranges.ok()) << ranges.status();
  uint64_t total = 0;
  uint64_t end = 0;
  for (GuestRange range : *ranges) {
    EXPECT_GE(range.start.value(), end);
    EXPECT_EQ(range.start.value() % (2 * kMiB), 0u);
    EXPECT_LT(range.size, kTiB);
    EXPECT_LE(range.size, kMaxRegionSize);
    end = range.start.value() + range.size;
    total += range.size;
  }
  EXPECT_EQ(total, kMaxGuestRam);
  EXPECT_LT(end, uint64_t{1} << 46);
}

TEST(SplitGuestRamTest, RefusesSizesThatCannotBe) {
  for (uint64_t size : {uint64_t{0}, uint64_t{1}, uint64_t{4095}, kGiB + 512, kMaxGuestRam + 4096,
                        UINT64_MAX, UINT64_MAX - 4095}) {
    EXPECT_EQ(SplitGuestRam(size).status().code(), absl::StatusCode::kInvalidArgument) << size;
  }
}

TEST(GuestMemoryTest, CreatesZeroedRamAroundThePciHole) {
  absl::StatusOr<GuestMemory> memory =
      GuestMemory::Create({.size = 4 * kGiB, .huge_pages = HugePages::kOff});
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(memory->size(), 4 * kGiB);
  ASSERT_EQ(memory->regions().size(), 2u);
  EXPECT_EQ(memory->regions()[1].range(), Range(4 * kGiB, kGiB));
  EXPECT_EQ(*memory->Load<uint64_t>(GuestAddress(5 * kGiB - 8)), 0u);
  EXPECT_FALSE(memory->Load<uint8_t>(GuestAddress(5 * kGiB)).ok());
  EXPECT_FALSE(memory->Load<uint8_t>(GuestAddress(kPciHoleStart)).ok());
  EXPECT_FALSE(memory->Load<uint8_t>(GuestAddress(kPciHoleEnd - 1)).ok());
}

TEST(GuestMemoryTest, RefusesSizesThatCannotBe) {
  EXPECT_EQ(GuestMemory::Create({}).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(GuestMemory::Create({.size = kMaxGuestRam + 4096}).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(GuestMemoryTest, RefusesNoRegions) {
  EXPECT_EQ(FromRegions().status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(GuestMemoryTest, RefusesRegionsThatOverlapOrAreOutOfOrder) {
  const absl::Status statuses[] = {
      FromRegions(Region(0, 4 * kMiB), Region(0, 4 * kMiB)).status(),
      FromRegions(Region(0, 4 * kMiB), Region(2 * kMiB, 4 * kMiB)).status(),
      FromRegions(Region(0, 8 * kMiB), Region(2 * kMiB, 2 * kMiB)).status(),
      FromRegions(Region(2 * kMiB, 2 * kMiB), Region(0, 8 * kMiB)).status(),
      FromRegions(Region(4 * kMiB, 2 * kMiB), Region(0, 2 * kMiB)).status(),
  };
  for (const absl::Status& status : statuses) {
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(status.message(), HasSubstr("does not come after"));
  }
}

TEST(GuestMemoryTest, RefusesRamInThePciHole) {
  for (uint64_t start : {kPciHoleStart - 2 * kMiB, kPciHoleStart, kPciHoleEnd - 2 * kMiB}) {
    EXPECT_EQ(FromRegions(Region(start, 4 * kMiB)).status().code(),
              absl::StatusCode::kInvalidArgument)
        << std::hex << start;
  }
  EXPECT_TRUE(
      FromRegions(Region(kPciHoleStart - 2 * kMiB, 2 * kMiB), Region(kPciHoleEnd, 2 * kMiB)).ok());
}

TEST(GuestMemoryTest, ReadsWhatWasWritten) {
  const GuestMemory memory = ThreeRegions();
  EXPECT_EQ(memory.size(), 8 * kMiB);
  const std::vector<uint8_t> bytes = Counting(1000);
  ASSERT_TRUE(memory.Write(GuestAddress(0x1003), bytes).ok());
  std::vector<uint8_t> out(1000);
  ASSERT_TRUE(memory.Read(GuestAddress(0x1003), absl::MakeSpan(out)).ok());
  EXPECT_EQ(out, bytes);
  EXPECT_EQ(memory.regions()[0].host_address()[0x1003], bytes[0]);
  EXPECT_EQ(*memory.Load<uint8_t>(GuestAddress(0x1002)), 0);
  EXPECT_EQ(*memory.Load<uint8_t>(GuestAddress(0x1003 + 1000)), 0);
}

TEST(GuestMemoryTest, LoadsAndStoresObjects) {
  const GuestMemory memory = ThreeRegions();
  struct Descriptor {
    uint64_t address;
    uint32_t length;
    uint16_t flags;
    uint16_t next;
  };
  ASSERT_TRUE(memory.Store(GuestAddress(0x2000), Descriptor{0x123456789abc, 512, 2, 7}).ok());
  absl::StatusOr<Descriptor> read = memory.Load<Descriptor>(GuestAddress(0x2000));
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->address, 0x123456789abcu);
  EXPECT_EQ(read->length, 512u);
  EXPECT_EQ(read->flags, 2);
  EXPECT_EQ(read->next, 7);
  EXPECT_EQ(*memory.Load<uint16_t>(GuestAddress(0x2000)), 0x9abc) << "little-endian";
}

TEST(GuestMemoryTest, SpansRegionsThatTouch) {
  const GuestMemory memory = ThreeRegions();
  const std::vector<uint8_t> bytes = Counting(100);
  const GuestAddress address(4 * kMiB - 33);
  ASSERT_TRUE(memory.Write(address, bytes).ok());
  std::vector<uint8_t> out(100);
  ASSERT_TRUE(memory.Read(address, absl::MakeSpan(out)).ok());
  EXPECT_EQ(out, bytes);
  EXPECT_EQ(memory.regions()[0].host_address()[4 * kMiB - 1], bytes[32]);
  EXPECT_EQ(memory.regions()[1].host_address()[0], bytes[33]);

  ASSERT_TRUE(memory.Store<uint64_t>(GuestAddress(4 * kMiB - 4), 0x1122334455667788).ok());
  EXPECT_EQ(*memory.Load<uint64_t>(GuestAddress(4 * kMiB - 4)), 0x1122334455667788u);

  ASSERT_TRUE(memory.Fill(GuestAddress(0), 0xee, 6 * kMiB).ok()) << "both regions, edge to edge";
  EXPECT_EQ(*memory.Load<uint8_t>(GuestAddress(0)), 0xee);
  EXPECT_EQ(*memory.Load<uint8_t>(GuestAddress(6 * kMiB - 1)), 0xee);
}

TEST(GuestMemoryTest, RefusesAccessBeyondEveryEdge) {
  const GuestMemory memory = ThreeRegions();
  const struct {
    uint64_t address, size;
  } kBad[] = {
      {6 * kMiB, 1},                  // first byte after
      {6 * kMiB - 1, 2},              // over the edge
      {6 * kMiB - 1, 2 * kMiB + 2},   // across the gap into RAM again
      {8 * kMiB - 1, 1},              // last byte before
      {8 * kMiB - 1, 2},              // into RAM from the gap
      {10 * kMiB, 1},                 // after all RAM
      {10 * kMiB - 1, 2},             // over the end
      {0, 10 * kMiB},                 // all, with the gap
      {0, UINT64_MAX},                // wraps in size
      {UINT64_MAX, 1},                // last address
      {UINT64_MAX, 2},                // wraps to 0
      {UINT64_MAX - 7, 16},           // wraps into RAM
      {8 * kMiB, UINT64_MAX - kMiB},  // wraps into RAM
  };
  const UniqueFd file = FileOf(Counting(64));
  for (const auto& bad : kBad) {
    SCOPED_TRACE(testing::Message() << std::hex << bad.address << " +" << bad.size);
    const GuestAddress address(bad.address);
    EXPECT_EQ(memory.Fill(address, 1, bad.size).code(), absl::StatusCode::kOutOfRange);
    if (bad.size <= INT64_MAX) {
      EXPECT_EQ(memory.ReadFromFd(file.get(), 0, address, bad.size).code(),
                absl::StatusCode::kOutOfRange);
    }
    if (bad.size > 16 * kMiB) continue;
    std::vector<uint8_t> buffer(bad.size);
    EXPECT_EQ(memory.Read(address, absl::MakeSpan(buffer)).code(), absl::StatusCode::kOutOfRange);
    EXPECT_EQ(memory.Write(address, buffer).code(), absl::StatusCode::kOutOfRange);
  }
  EXPECT_EQ(memory.Load<uint32_t>(GuestAddress(6 * kMiB - 3)).status().code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(memory.Store<uint32_t>(GuestAddress(6 * kMiB - 3), 0).code(),
            absl::StatusCode::kOutOfRange);
}

TEST(GuestMemoryTest, RefusesAddressesBelowTheFirstRegion) {
  absl::StatusOr<GuestMemory> memory = FromRegions(Region(2 * kMiB, 2 * kMiB));
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_EQ(memory->Load<uint8_t>(GuestAddress(0)).status().code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(memory->Load<uint16_t>(GuestAddress(2 * kMiB - 1)).status().code(),
            absl::StatusCode::kOutOfRange);
}

TEST(GuestMemoryTest, RefusedAccessChangesNothing) {
  const GuestMemory memory = ThreeRegions();
  const GuestAddress last(6 * kMiB - 4);
  const UniqueFd file = FileOf(Counting(64));
  EXPECT_FALSE(memory.Write(last, Counting(5)).ok());
  EXPECT_FALSE(memory.Fill(last, 0xff, 5).ok());
  EXPECT_FALSE(memory.ReadFromFd(file.get(), 0, last, 5).ok());
  EXPECT_EQ(*memory.Load<uint32_t>(last), 0u);
}

TEST(GuestMemoryTest, AccessOfNothingSucceedsAnywhere) {
  const GuestMemory memory = ThreeRegions();
  for (uint64_t address : {uint64_t{0}, 6 * kMiB, 7 * kMiB, UINT64_MAX}) {
    EXPECT_TRUE(memory.Read(GuestAddress(address), {}).ok());
    EXPECT_TRUE(memory.Write(GuestAddress(address), {}).ok());
    EXPECT_TRUE(memory.Fill(GuestAddress(address), 1, 0).ok());
    EXPECT_TRUE(memory.ReadFromFd(-1, 0, GuestAddress(address), 0).ok());
  }
}

TEST(GuestMemoryTest, MovedFromMemoryHasNoRam) {
  GuestMemory memory = ThreeRegions();
  const GuestMemory moved = std::move(memory);
  EXPECT_TRUE(moved.Store<uint8_t>(GuestAddress(0), 1).ok());
  EXPECT_EQ(memory.Store<uint8_t>(GuestAddress(0), 1).code(), absl::StatusCode::kOutOfRange);
}

TEST(GuestMemoryReadFromFdTest, ReadsAcrossRegionsFromAnOffset) {
  const GuestMemory memory = ThreeRegions();
  const std::vector<uint8_t> bytes = Counting(10000);
  const UniqueFd file = FileOf(bytes);
  const GuestAddress address(4 * kMiB - 5000);
  ASSERT_TRUE(memory.ReadFromFd(file.get(), 100, address, 9900).ok());
  std::vector<uint8_t> out(9900);
  ASSERT_TRUE(memory.Read(address, absl::MakeSpan(out)).ok());
  EXPECT_EQ(out, std::vector<uint8_t>(bytes.begin() + 100, bytes.end()));
  EXPECT_EQ(lseek(file.get(), 0, SEEK_CUR), 0) << "the file's position is untouched";
}

TEST(GuestMemoryReadFromFdTest, SaysWhenTheImageEndsEarly) {
  const GuestMemory memory = ThreeRegions();
  const UniqueFd file = FileOf(Counting(64));
  for (uint64_t offset : {uint64_t{1}, uint64_t{64}, uint64_t{1000}, uint64_t{INT64_MAX} - 64}) {
    absl::Status status = memory.ReadFromFd(file.get(), offset, GuestAddress(0), 64);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << offset;
    EXPECT_THAT(status.message(), HasSubstr("image ends early")) << offset;
  }
}

TEST(GuestMemoryReadFromFdTest, RefusesOffsetsNoFileHas) {
  const GuestMemory memory = ThreeRegions();
  const UniqueFd file = FileOf(Counting(64));
  for (uint64_t offset : {UINT64_MAX, uint64_t{INT64_MAX} + 1, uint64_t{INT64_MAX} - 62}) {
    EXPECT_EQ(memory.ReadFromFd(file.get(), offset, GuestAddress(0), 64).code(),
              absl::StatusCode::kInvalidArgument)
        << offset;
  }
}

TEST(GuestMemoryReadFromFdTest, PassesOnWhatTheFileSays) {
  const GuestMemory memory = ThreeRegions();
  EXPECT_FALSE(memory.ReadFromFd(-1, 0, GuestAddress(0), 1).ok());
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  EXPECT_FALSE(memory.ReadFromFd(read_end.get(), 0, GuestAddress(0), 1).ok()) << "ESPIPE";
}

TEST(GuestMemoryTest, CountsWhatTheHostHasNotAllocated) {
  const GuestMemory memory = ThreeRegions();
  EXPECT_EQ(*memory.MissingBytes(), memory.size());
  ASSERT_TRUE(memory.Fill(GuestAddress(5 * kMiB), 1, 1).ok());
  ASSERT_TRUE(memory.Fill(GuestAddress(9 * kMiB), 1, 1).ok());
  EXPECT_LT(*memory.MissingBytes(), memory.size());
  EXPECT_GE(*memory.MissingBytes(), 4 * kMiB) << "nothing of the first region is allocated";
  ASSERT_TRUE(memory.Prefault(1, nullptr).ok());
  EXPECT_EQ(*memory.MissingBytes(), 0u);
}

TEST(GuestMemoryPrefaultTest, CoversAllRegions) {
  const GuestMemory memory = ThreeRegions();
  uint64_t last = 0;
  ASSERT_TRUE(memory
                  .Prefault(2,
                            [&](uint64_t done) {
                              last = done;
                              return absl::OkStatus();
                            })
                  .ok());
  EXPECT_EQ(last, memory.size());
  for (const MemfdRegion& region : memory.regions()) {
    const size_t pages = region.range().size / 4096;
    std::vector<unsigned char> resident(pages);
    ASSERT_EQ(mincore(region.host_address(), region.range().size, resident.data()), 0);
    EXPECT_THAT(resident, Each(1));
  }
}

// What a running guest does to a device: change a value while it is read. Run under
// ThreadSanitizer, this also shows that such races are none of the language's.
TEST(GuestMemoryTest, ConcurrentAccessIsNeverTorn) {
  const GuestMemory memory = ThreeRegions();
  const GuestAddress address(0x3008);
  constexpr uint64_t kA = 0x1111111111111111, kB = 0xeeeeeeeeeeeeeeee;
  ASSERT_TRUE(memory.Store(address, kA).ok());
  std::atomic<bool> done = false;
  std::thread guest([&] {
    for (int i = 0; i < 20000; ++i) {
      if (!memory.Store(address, i % 2 == 0 ? kB : kA).ok()) break;
    }
    done = true;
  });
  uint64_t torn = 0;
  while (!done) {
    const uint64_t value = memory.Load<uint64_t>(address).value_or(0);
    if (value != kA && value != kB) ++torn;
  }
  guest.join();
  EXPECT_EQ(torn, 0u);
}

TEST(GuestMemoryTest, ConcurrentBulkAccessIsNoDataRace) {
  const GuestMemory memory = ThreeRegions();
  const GuestAddress address(4 * kMiB - 2048);
  std::thread guest([&] {
    for (int i = 0; i < 50; ++i) EXPECT_TRUE(memory.Fill(address, i, 4096).ok());
  });
  std::vector<uint8_t> out(4096);
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(memory.Read(address, absl::MakeSpan(out)).ok());
  guest.join();
  EXPECT_THAT(out, Each(testing::Lt(50)));
}

}  // namespace
}  // namespace vmm
