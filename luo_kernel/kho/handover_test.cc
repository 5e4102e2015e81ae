// A handover out and in again: what the kernel that goes wrote, read by the one that comes, over
// the same memory.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <string.h>

#include <vector>

#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/kho/test_machine.h"

namespace luo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::UnorderedElementsAre;

constexpr uint64_t kPage = abi::kPageSize;
constexpr uint64_t kMiB = 1 << 20;

PhysicalAddress Plus(PhysicalAddress address, uint64_t bytes) {
  return PhysicalAddress(address.value() + bytes);
}

std::vector<abi::RadixEntry> Preserved(const IncomingHandover& handover) {
  std::vector<abi::RadixEntry> blocks;
  EXPECT_TRUE(handover.preserved()
                  .ForEach([&](PhysicalAddress address, unsigned order) {
                    blocks.push_back({address.value(), order});
                    return absl::OkStatus();
                  })
                  .ok());
  return blocks;
}

class HandoverTest : public ::testing::Test {
 protected:
  absl::StatusOr<IncomingHandover> Kexec() {
    return IncomingHandover::Open(machine_.memory(), handover_.data());
  }

  TestMachine machine_;
  OutgoingHandover handover_ = machine_.NewHandover();
  const PhysicalAddress data_ = machine_.AddData(64 * kMiB);
};

TEST_F(HandoverTest, OneThatPreservesNothingHandsOverItsRootOnly) {
  absl::StatusOr<IncomingHandover> incoming = Kexec();
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  EXPECT_THAT(Preserved(*incoming), ElementsAre(abi::RadixEntry{handover_.data().root_address, 0}));
  EXPECT_TRUE(incoming->subtrees().empty());
  EXPECT_THAT(incoming->scratch(), ElementsAre(machine_.scratch()));
}

TEST_F(HandoverTest, FoliosComeBackOnceWithTheirOrder) {
  ASSERT_TRUE(handover_.PreserveFolio(data_, 9).ok());
  ASSERT_TRUE(handover_.PreserveFolio(Plus(data_, 2 * kMiB), 0).ok());
  ASSERT_TRUE(handover_.PreserveFolio(Plus(data_, 4 * kMiB), 2).ok());
  ASSERT_TRUE(handover_.UnpreserveFolio(Plus(data_, 2 * kMiB), 0).ok());
  EXPECT_EQ(handover_.preserved_pages(), 1 + 512 + 4u);

  absl::StatusOr<IncomingHandover> incoming = Kexec();
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  EXPECT_EQ(incoming->preserved().blocks(), 3u);
  EXPECT_EQ(incoming->preserved().pages(), 1 + 512 + 4u);
  EXPECT_EQ(incoming->RestoreFolio(data_).value(), 9u);
  EXPECT_EQ(incoming->RestoreFolio(Plus(data_, 4 * kMiB)).value(), 2u);
  EXPECT_EQ(incoming->RestoreFolio(data_).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(incoming->RestoreFolio(Plus(data_, 2 * kMiB)).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(incoming->RestoreFolio(Plus(data_, 5 * kMiB)).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_EQ(incoming->RestoreFolio(Plus(data_, 1)).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(incoming->preserved().pages(), 1u);
}

TEST_F(HandoverTest, AMidwayPageOfAFolioIsNoFolio) {
  ASSERT_TRUE(handover_.PreserveFolio(data_, 9).ok());
  absl::StatusOr<IncomingHandover> incoming = Kexec();
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  EXPECT_FALSE(incoming->RestoreFolio(Plus(data_, kPage)).ok());
  EXPECT_EQ(incoming->preserved().BlockOf(Plus(data_, kPage + 7)).value(),
            (abi::RadixEntry{data_.value(), 9}));
}

TEST_F(HandoverTest, RunsOfPagesTravelAsTheLargestBlocksTheyDivideInto) {
  ASSERT_TRUE(handover_.PreservePages(Plus(data_, kPage), 10).ok());
  absl::StatusOr<IncomingHandover> incoming = Kexec();
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  const uint64_t base = data_.value();
  EXPECT_THAT(
      Preserved(*incoming),
      UnorderedElementsAre(
          abi::RadixEntry{handover_.data().root_address, 0}, abi::RadixEntry{base + 1 * kPage, 0},
          abi::RadixEntry{base + 2 * kPage, 1}, abi::RadixEntry{base + 4 * kPage, 2},
          abi::RadixEntry{base + 8 * kPage, 1}, abi::RadixEntry{base + 10 * kPage, 0}));
  EXPECT_TRUE(incoming->preserved().Covers({Plus(data_, kPage), 10 * kPage}));
  EXPECT_FALSE(incoming->preserved().Covers({Plus(data_, kPage), 10 * kPage + 1}));
  // A part that ends amid a block takes nothing.
  EXPECT_EQ(incoming->RestorePages(Plus(data_, kPage), 2).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(incoming->RestorePages(Plus(data_, kPage), 10).ok());
  EXPECT_EQ(incoming->RestorePages(Plus(data_, kPage), 10).code(), absl::StatusCode::kNotFound);
}

TEST_F(HandoverTest, ARunCanBeUnpreservedOnlyAsItWasPreserved) {
  ASSERT_TRUE(handover_.PreservePages(data_, 8).ok());
  EXPECT_EQ(handover_.UnpreservePages(data_, 4).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(handover_.UnpreservePages(data_, 9).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(handover_.preserved_pages(), 1 + 8u);
  EXPECT_TRUE(handover_.UnpreservePages(data_, 8).ok());
  EXPECT_EQ(handover_.preserved_pages(), 1u);
}

TEST_F(HandoverTest, NothingIsPreservedTwice) {
  ASSERT_TRUE(handover_.PreserveFolio(Plus(data_, 2 * kMiB), 9).ok());
  ASSERT_TRUE(handover_.PreserveFolio(Plus(data_, 4 * kMiB + 17 * kPage), 0).ok());
  const struct {
    uint64_t offset;
    unsigned order;
  } overlaps[] = {
      {2 * kMiB, 9},                // the same
      {2 * kMiB + 5 * kPage, 0},    // inside a larger one
      {2 * kMiB + 256 * kPage, 8},  // its second half
      {0, 10},                      // around it
      {4 * kMiB, 9},                // around a smaller one
      {4 * kMiB + 16 * kPage, 1},   // just so
      {4 * kMiB + 17 * kPage, 0},   // the same
      {0, 12},                      // around both
  };
  for (const auto& [offset, order] : overlaps) {
    EXPECT_EQ(handover_.PreserveFolio(Plus(data_, offset), order).code(),
              absl::StatusCode::kAlreadyExists)
        << offset << " " << order;
  }
  EXPECT_TRUE(handover_.PreserveFolio(Plus(data_, 4 * kMiB + 18 * kPage), 1).ok());
  EXPECT_EQ(handover_.PreservePages(data_, 1024).code(), absl::StatusCode::kAlreadyExists);
  // What went before the page that was taken is undone.
  EXPECT_EQ(handover_.preserved_pages(), 1 + 512 + 1 + 2u);
  EXPECT_TRUE(handover_.PreservePages(data_, 512).ok());
}

TEST_F(HandoverTest, RefusesWhatNoKernelCouldPreserve) {
  EXPECT_EQ(handover_.PreserveFolio(Plus(data_, kPage), 1).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(handover_.PreserveFolio(Plus(data_, 1), 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(handover_.PreserveFolio(data_, 52).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(handover_.PreserveFolio(data_, 4000000000).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(handover_.PreserveFolio(PhysicalAddress(0), 51).code(), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(handover_.PreserveFolio(Plus(data_, 64 * kMiB), 0).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(handover_.PreserveFolio(PhysicalAddress(~uint64_t{0xfff}), 0).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(handover_.PreserveFolio(machine_.scratch().start, 0).code(),
            absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(handover_.PreservePages(data_, 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(handover_.PreservePages(data_, ~uint64_t{0}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(handover_.PreservePages(data_, 64 * kMiB / kPage + 1).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(handover_.UnpreserveFolio(data_, 0).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(handover_.UnpreserveFolio(data_, 52).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(handover_.preserved_pages(), 1u);
}

TEST_F(HandoverTest, VmallocAreasComeBackInVirtualOrder) {
  // More than a chunk of them, backwards.
  std::vector<PhysicalAddress> blocks;
  for (uint64_t i = 0; i < 1200; ++i) blocks.push_back(Plus(data_, (1200 - i) * kPage));
  absl::StatusOr<abi::Vmalloc> area = handover_.PreserveVmalloc(blocks, 0, abi::kVmallocAlloc);
  ASSERT_TRUE(area.ok()) << area.status();
  EXPECT_EQ(area->total_pages, 1200u);

  absl::StatusOr<IncomingHandover> incoming = Kexec();
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  absl::StatusOr<VmallocArea> restored = incoming->RestoreVmalloc(*area);
  ASSERT_TRUE(restored.ok()) << restored.status();
  EXPECT_EQ(restored->blocks, blocks);
  EXPECT_EQ(restored->order, 0u);
  EXPECT_EQ(restored->flags, abi::kVmallocAlloc);
  EXPECT_EQ(restored->chunks.size(), 3u);
  EXPECT_EQ(incoming->preserved().pages(), 1u);
  EXPECT_EQ(incoming->RestoreVmalloc(*area).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(HandoverTest, AFullChunkIsFollowedByAnEmptyOneAsInLinux) {
  std::vector<PhysicalAddress> blocks;
  for (uint64_t i = 0; i < abi::kVmallocAddressesPerChunk; ++i) {
    blocks.push_back(Plus(data_, i * 4 * kPage));
  }
  absl::StatusOr<abi::Vmalloc> area =
      handover_.PreserveVmalloc(blocks, 2, abi::kVmallocAlloc | abi::kVmallocHugeVmap);
  ASSERT_TRUE(area.ok()) << area.status();
  EXPECT_EQ(area->total_pages, 4 * abi::kVmallocAddressesPerChunk);
  absl::StatusOr<VmallocArea> read = ReadVmallocArea(machine_.memory(), *area);
  ASSERT_TRUE(read.ok()) << read.status();
  EXPECT_EQ(read->chunks.size(), 2u);
  EXPECT_EQ(read->blocks, blocks);

  const uint64_t free_before = machine_.arena().free_pages();
  ASSERT_TRUE(handover_.UnpreserveVmalloc(*area).ok());
  EXPECT_EQ(handover_.preserved_pages(), 1u);
  EXPECT_EQ(machine_.arena().free_pages(), free_before + 2);
  EXPECT_FALSE(handover_.UnpreserveVmalloc(*area).ok());
}

TEST_F(HandoverTest, AVmallocAreaThatCannotBePreservedLeavesNothing) {
  // The nodes on the way stay, as in Linux.
  ASSERT_TRUE(handover_.PreserveFolio(data_, 0).ok());
  ASSERT_TRUE(handover_.UnpreserveFolio(data_, 0).ok());
  const uint64_t free_before = machine_.arena().free_pages();
  std::vector<PhysicalAddress> blocks(600, data_);
  for (uint64_t i = 0; i < 599; ++i) blocks[i] = Plus(data_, i * kPage);
  EXPECT_EQ(handover_.PreserveVmalloc(blocks, 0, 0).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(handover_.preserved_pages(), 1u);
  EXPECT_EQ(machine_.arena().free_pages(), free_before);
  EXPECT_EQ(handover_.PreserveVmalloc({}, 0, 0).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(handover_.PreserveVmalloc({data_}, 0, 4).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(handover_.PreserveVmalloc({data_}, 32, 0).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(handover_.PreserveVmalloc({PhysicalAddress(0)}, 0, 0).status().code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(HandoverTest, ARestoreThatFailsTakesNothing) {
  std::vector<PhysicalAddress> blocks = {data_, Plus(data_, kPage), Plus(data_, 2 * kPage)};
  absl::StatusOr<abi::Vmalloc> area = handover_.PreserveVmalloc(blocks, 0, 0);
  ASSERT_TRUE(area.ok()) << area.status();
  absl::StatusOr<IncomingHandover> incoming = Kexec();
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  ASSERT_TRUE(incoming->RestorePages(blocks[2], 1).ok());
  EXPECT_EQ(incoming->RestoreVmalloc(*area).status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(incoming->RestoreSinglePages({blocks[0], blocks[1]}).ok());
  EXPECT_EQ(incoming->RestoreSinglePages({blocks[0]}).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(incoming->RestorePages(data_, 0).code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(incoming->RestorePages(Plus(data_, 1), 1).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(HandoverTest, AnAreaThatListsABlockTwiceIsNotRestored) {
  std::vector<PhysicalAddress> blocks = {data_, Plus(data_, kPage)};
  absl::StatusOr<abi::Vmalloc> area = handover_.PreserveVmalloc(blocks, 0, 0);
  ASSERT_TRUE(area.ok()) << area.status();
  auto chunk = ReadStruct<abi::VmallocChunk>(machine_.memory(), PhysicalAddress(area->first));
  ASSERT_TRUE(chunk.ok());
  chunk->addresses[1] = chunk->addresses[0];
  ASSERT_TRUE(WriteStruct(machine_.memory(), PhysicalAddress(area->first), *chunk).ok());
  absl::StatusOr<IncomingHandover> incoming = Kexec();
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  const uint64_t before = incoming->preserved().pages();
  EXPECT_EQ(incoming->RestoreVmalloc(*area).status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(incoming->preserved().pages(), before);
}

TEST_F(HandoverTest, SubtreesAreFoundByName) {
  absl::StatusOr<PhysicalAddress> one = handover_.AllocatePreserved(100);
  absl::StatusOr<PhysicalAddress> two = handover_.AllocatePreserved(2 * kPage + 1);
  ASSERT_TRUE(one.ok() && two.ok());
  ASSERT_TRUE(handover_.AddSubtree("LUO", *one, 100).ok());
  ASSERT_TRUE(handover_.AddSubtree("other", *two, 2 * kPage + 1).ok());
  EXPECT_EQ(handover_.AddSubtree("LUO", *two, 1).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(handover_.FindSubtree("LUO").value(), (Subtree{"LUO", *one, 100}));

  absl::StatusOr<IncomingHandover> incoming = Kexec();
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  EXPECT_EQ(incoming->FindSubtree("other").value(), (Subtree{"other", *two, 2 * kPage + 1}));
  EXPECT_EQ(incoming->FindSubtree("none").status().code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(incoming->RestoreFolio(*two).value(), 2u);

  ASSERT_TRUE(handover_.RemoveSubtree(*one).ok());
  EXPECT_EQ(handover_.RemoveSubtree(*one).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(handover_.FindSubtree("LUO").status().code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(handover_.FreePreserved(*one, 100).ok());
  EXPECT_EQ(handover_.FreePreserved(*one, 100).code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(Kexec()->subtrees().size(), 1u);
}

TEST_F(HandoverTest, ASubtreeWhoseBlobIsNotPreservedIsRefused) {
  ASSERT_TRUE(handover_.AddSubtree("LUO", machine_.Page(), 8).ok());
  const absl::Status status = Kexec().status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()), HasSubstr("\"LUO\" is not preserved"));
  EXPECT_EQ(handover_.AddSubtree("far", PhysicalAddress(~uint64_t{0}), 8).code(),
            absl::StatusCode::kOutOfRange);
}

TEST_F(HandoverTest, ARootThatIsNotPreservedIsRefused) {
  ASSERT_TRUE(handover_.UnpreserveFolio(PhysicalAddress(handover_.data().root_address), 0).ok());
  EXPECT_EQ(Kexec().status().code(), absl::StatusCode::kDataLoss);
}

TEST_F(HandoverTest, BootTakesWhatWasPreservedAndNothingElse) {
  std::vector<PhysicalAddress> kept = {PhysicalAddress(handover_.data().root_address)};
  for (int i = 0; i < 20; ++i) {
    const PhysicalAddress kept_page = handover_.AllocatePreserved(kPage).value();
    kept.push_back(kept_page);
    machine_.Page();  // and one that is not
  }
  ASSERT_TRUE(handover_.PreserveFolio(data_, 9).ok());
  absl::StatusOr<IncomingHandover> incoming = Kexec();
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  Arena arena = machine_.NewArena();
  const uint64_t all = arena.free_pages();
  ASSERT_TRUE(incoming->Reserve(arena).ok());
  EXPECT_EQ(arena.free_pages(), all - kept.size());
  for (PhysicalAddress page : kept) EXPECT_FALSE(arena.IsFree(page));
  // Restored, a page can be given back.
  ASSERT_TRUE(incoming->RestoreFolio(kept[1]).ok());
  EXPECT_TRUE(arena.Free(kept[1], 0).ok());
  // To reserve twice is to find everything taken.
  EXPECT_EQ(incoming->Reserve(arena).code(), absl::StatusCode::kAlreadyExists);
}

TEST_F(HandoverTest, WithoutMetadataLeftPreservingFailsAndChangesNothing) {
  while (machine_.arena().Allocate(0).ok()) {
  }
  const absl::Status status = handover_.PreserveFolio(data_, 3);
  EXPECT_EQ(status.code(), absl::StatusCode::kResourceExhausted) << status;
  EXPECT_EQ(handover_.preserved_pages(), 1u);
  EXPECT_EQ(handover_.AllocatePreserved(1).status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_TRUE(Kexec().ok());
}

TEST_F(HandoverTest, FoliosHaveLimits) {
  EXPECT_EQ(handover_.AllocatePreserved(0).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(handover_.AllocatePreserved(4 * kMiB + 1).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(handover_.AllocatePreserved(4 * kMiB).ok());
}

TEST(HandoverCreateTest, ScratchIsCheckedAndListed) {
  TestMachine machine;
  const auto create = [&](std::vector<PhysicalRange> scratch) {
    return OutgoingHandover::Create(&machine.memory(), &machine.arena(), std::move(scratch))
        .status()
        .code();
  };
  const PhysicalAddress base = TestMachine::kMetadata;
  EXPECT_EQ(create({}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create({{base, 0}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create({{base, kPage + 1}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create({{Plus(base, 1), kPage}}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(create({{PhysicalAddress(0), kMiB}}), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(create({{base, ~uint64_t{0xfff}}}), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(create({{base, kMiB}, {Plus(base, kMiB - kPage), kMiB}}),
            absl::StatusCode::kInvalidArgument);
  // Too small to hold the list at a multiple of 64 KiB.
  EXPECT_EQ(create({{Plus(base, 8 * kMiB + kPage), kPage}}), absl::StatusCode::kInvalidArgument);

  const std::vector<PhysicalRange> scratch = {{base, kMiB}, {Plus(base, 2 * kMiB), kMiB}};
  absl::StatusOr<OutgoingHandover> handover =
      OutgoingHandover::Create(&machine.memory(), &machine.arena(), scratch);
  ASSERT_TRUE(handover.ok()) << handover.status();
  EXPECT_EQ(handover->data().scratch_size, 32u);
  EXPECT_EQ(handover->data().scratch_address % 0x10000, 0u);
  absl::StatusOr<IncomingHandover> incoming =
      IncomingHandover::Open(machine.memory(), handover->data());
  ASSERT_TRUE(incoming.ok()) << incoming.status();
  EXPECT_EQ(incoming->scratch(), scratch);
}

class HostileHandoverTest : public HandoverTest {
 protected:
  absl::StatusCode OpenWith(void (*change)(abi::KhoData&)) {
    abi::KhoData data = handover_.data();
    change(data);
    return IncomingHandover::Open(machine_.memory(), data).status().code();
  }
  absl::StatusCode OpenWithScratch(abi::Scratch scratch) {
    EXPECT_TRUE(
        WriteStruct(machine_.memory(), PhysicalAddress(handover_.data().scratch_address), scratch)
            .ok());
    return Kexec().status().code();
  }
};

TEST_F(HostileHandoverTest, BadPointersToItAreRefused) {
  EXPECT_EQ(OpenWith([](abi::KhoData& data) { data.root_address = 0; }),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(OpenWith([](abi::KhoData& data) { data.root_address = ~uint64_t{0}; }),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(OpenWith([](abi::KhoData& data) { data.root_address += 8; }),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWith([](abi::KhoData& data) { data.root_size = 0; }), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWith([](abi::KhoData& data) { data.root_size = 100; }),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWith([](abi::KhoData& data) { data.root_size = ~uint64_t{0}; }),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWith([](abi::KhoData& data) { data.scratch_size = 0; }),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWith([](abi::KhoData& data) { data.scratch_size = 17; }),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWith([](abi::KhoData& data) { data.scratch_size = ~uint64_t{15}; }),
            absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWith([](abi::KhoData& data) { data.scratch_address = ~uint64_t{15}; }),
            absl::StatusCode::kOutOfRange);
}

TEST_F(HostileHandoverTest, BadScratchRegionsAreRefused) {
  const uint64_t base = TestMachine::kMetadata.value();
  EXPECT_EQ(OpenWithScratch({base + 1, kPage}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWithScratch({base, kPage - 1}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWithScratch({0, kPage}), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(OpenWithScratch({base, ~uint64_t{0xfff}}), absl::StatusCode::kOutOfRange);
  // Scratch memory in which the root lies, which is preserved.
  EXPECT_EQ(OpenWithScratch({base, 16 * kMiB}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(OpenWithScratch({base, kMiB}), absl::StatusCode::kOk);
}

}  // namespace
}  // namespace luo
