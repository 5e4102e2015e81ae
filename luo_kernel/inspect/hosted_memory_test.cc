#include "luo_kernel/inspect/hosted_memory.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "luo_kernel/inspect/handover_reader.h"
#include "luo_kernel/inspect/test_handover.h"

namespace luo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;
using ::vmm::UniqueFd;

InspectedExtent Extent(uint64_t address, uint64_t size, uint64_t offset, UniqueFd file) {
  InspectedExtent extent;
  extent.range = {PhysicalAddress(address), size};
  extent.offset = offset;
  extent.file = std::move(file);
  return extent;
}

// The test's handover, its memory in two files.
InspectedMachine Machine(const TestHandover& handover, UniqueFd* second = nullptr) {
  TestHandover copy = handover;
  const auto& bytes = copy.memory().bytes();
  constexpr uint64_t kHalf = TestHandover::kMemorySize / 2;
  InspectedMachine machine;
  machine.handover.root_address = handover.tree();
  machine.handover.scratch_address = TestHandover::kMemory;
  machine.handover.scratch_size = sizeof(abi::Scratch);
  for (const uint64_t start : {kHalf, uint64_t{0}}) {
    UniqueFd file(memfd_create("extent", MFD_CLOEXEC));
    EXPECT_EQ(pwrite(file.get(), bytes.data() + start, kHalf, 4096), ssize_t{kHalf});
    if (second != nullptr && start != 0) second->Reset(dup(file.get()));
    machine.extents.push_back(Extent(TestHandover::kMemory + start, kHalf, 4096, std::move(file)));
  }
  return machine;
}

TEST(HostedMemoryTest, AHandoverIsReadOutOfItsExtents) {
  const TestHandover handover;
  auto memory = HostedMemory::FromMachine(Machine(handover));
  ASSERT_TRUE(memory.ok()) << memory.status();
  EXPECT_THAT((*memory)->ranges(),
              ElementsAre(MemoryRange{TestHandover::kMemory, TestHandover::kMemorySize}));
  const Report report = (*memory)->ReadReport("test", std::nullopt);
  ASSERT_THAT(report.handovers, SizeIs(1));
  EXPECT_THAT(report.handovers[0].scratch,
              ElementsAre(MemoryRange{TestHandover::kMemory, 64 << 10}));
  EXPECT_THAT(report.handovers[0].problems.kept(), ElementsAre());
  EXPECT_THAT(report.handovers[0].luo->sessions, SizeIs(3));
  std::vector<uint8_t> across(16);
  EXPECT_TRUE(
      (*memory)
          ->Read(TestHandover::kMemory + TestHandover::kMemorySize / 2 - 8, absl::MakeSpan(across))
          .ok());
  EXPECT_FALSE((*memory)->Read(TestHandover::kMemory - 1, absl::MakeSpan(across)).ok());
}

TEST(HostedMemoryTest, AFileThatShrinksIsAnErrorAndNoMore) {
  UniqueFd file;
  auto memory = HostedMemory::FromMachine(Machine(TestHandover(), &file));
  ASSERT_TRUE(memory.ok()) << memory.status();
  ASSERT_EQ(ftruncate(file.get(), 5000), 0);
  std::vector<uint8_t> bytes(4096);
  EXPECT_THAT(
      (*memory)
          ->Read(TestHandover::kMemory + TestHandover::kMemorySize / 2, absl::MakeSpan(bytes))
          .message(),
      HasSubstr("shorter"));
}

TEST(HostedMemoryTest, ExtentsThatOverlapOrWrapAreRefused) {
  for (const auto& [address, size, offset] :
       {std::tuple(uint64_t{0x2000}, uint64_t{0x1000}, uint64_t{0}),
        std::tuple(~uint64_t{0} - 0xfff, uint64_t{0x2000}, uint64_t{0}),
        std::tuple(uint64_t{0x10000}, uint64_t{0x1000}, ~uint64_t{0})}) {
    InspectedMachine machine;
    machine.extents.push_back(Extent(0x1000, 0x2000, 0, UniqueFd()));
    machine.extents.push_back(Extent(address, size, offset, UniqueFd()));
    EXPECT_FALSE(HostedMemory::FromMachine(std::move(machine)).ok()) << address;
  }
}

TEST(HostedMemoryTest, NobodyListeningIsSaid) {
  EXPECT_EQ(HostedMemory::Open("/nonexistent/luo.sock").status().message(),
            "/nonexistent/luo.sock: No such file or directory");
}

}  // namespace
}  // namespace luo
