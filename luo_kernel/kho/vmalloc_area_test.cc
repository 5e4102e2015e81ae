#include "luo_kernel/kho/vmalloc_area.h"

#include <gtest/gtest.h>

#include <functional>
#include <utility>
#include <vector>

#include "luo_kernel/kho/test_machine.h"

namespace luo {
namespace {

constexpr uint64_t kPage = abi::kPageSize;

class VmallocAreaTest : public ::testing::Test {
 protected:
  // An area of three blocks in two chunks, written by hand.
  void SetUp() override {
    Write(0, {second_, {data_, data_ + kPage}});
    Write(1, {0, {data_ + 5 * kPage}});
  }

  struct Chunk {
    uint64_t next;
    std::vector<uint64_t> addresses;
  };
  void Write(int which, const Chunk& chunk) {
    abi::VmallocChunk bytes = {};
    bytes.next = chunk.next;
    std::copy(chunk.addresses.begin(), chunk.addresses.end(), bytes.addresses);
    ASSERT_TRUE(
        WriteStruct(machine_.memory(), PhysicalAddress(which == 0 ? first_ : second_), bytes).ok());
  }
  absl::StatusCode Read(const abi::Vmalloc& descriptor) {
    return ReadVmallocArea(machine_.memory(), descriptor).status().code();
  }

  TestMachine machine_;
  const uint64_t first_ = machine_.Page().value();
  const uint64_t second_ = machine_.Page().value();
  const uint64_t data_ = machine_.AddData(8 << 20).value();
  const abi::Vmalloc good_ = {first_, 3, abi::kVmallocAlloc, 0};
};

TEST_F(VmallocAreaTest, AChunkMayBeShortAndTheListGoOn) {
  absl::StatusOr<VmallocArea> area = ReadVmallocArea(machine_.memory(), good_);
  ASSERT_TRUE(area.ok()) << area.status();
  EXPECT_EQ(area->blocks,
            (std::vector<PhysicalAddress>{PhysicalAddress(data_), PhysicalAddress(data_ + kPage),
                                          PhysicalAddress(data_ + 5 * kPage)}));
  EXPECT_EQ(area->chunks,
            (std::vector<PhysicalAddress>{PhysicalAddress(first_), PhysicalAddress(second_)}));
  EXPECT_EQ(area->pages(), 3u);
}

TEST_F(VmallocAreaTest, DescriptorsThatCannotBeAreRefused) {
  EXPECT_EQ(Read({first_, 3, 4, 0}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Read({first_, 3, 0xffff, 0}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Read({first_, 0, 0, 0}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Read({first_, 2, 0, 0}), absl::StatusCode::kDataLoss);  // fewer than there are
  EXPECT_EQ(Read({first_, 4, 0, 0}), absl::StatusCode::kDataLoss);  // more
  EXPECT_EQ(Read({first_, 3, 0, 1}), absl::StatusCode::kDataLoss);  // not whole blocks
  EXPECT_EQ(Read({first_, 6, 0, 1}), absl::StatusCode::kOk);
  EXPECT_EQ(Read({first_, 3, 0, 32}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Read({first_, 3, 0, 65535}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Read({first_, 0xffffffff, 0, 0}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Read({0, 3, 0, 0}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Read({first_ + 1, 3, 0, 0}), absl::StatusCode::kDataLoss);
  EXPECT_EQ(Read({0x1000, 3, 0, 0}), absl::StatusCode::kOutOfRange);
  EXPECT_EQ(Read({~uint64_t{0xfff}, 3, 0, 0}), absl::StatusCode::kOutOfRange);
}

TEST_F(VmallocAreaTest, ChunksThatCannotBeAreRefused) {
  Write(1, {first_, {data_ + 5 * kPage}});
  EXPECT_EQ(Read(good_), absl::StatusCode::kDataLoss);  // a cycle
  Write(1, {second_, {data_ + 5 * kPage}});
  EXPECT_EQ(Read(good_), absl::StatusCode::kDataLoss);
  Write(1, {0, {data_ + 1}});
  EXPECT_EQ(Read(good_), absl::StatusCode::kDataLoss);
  Write(1, {0, {0x1000}});
  EXPECT_EQ(Read(good_), absl::StatusCode::kOutOfRange);
  Write(1, {0, {~uint64_t{0xfff}}});
  EXPECT_EQ(Read(good_), absl::StatusCode::kOutOfRange);
  Write(1, {0x1000, {data_ + 5 * kPage}});
  EXPECT_EQ(Read(good_), absl::StatusCode::kOutOfRange);
  // The end of the last block is what lies outside.
  Write(1, {0, {data_ + (8 << 20) - kPage}});
  EXPECT_EQ(Read({first_, 6, 0, 1}), absl::StatusCode::kOutOfRange);
}

TEST_F(VmallocAreaTest, BytesAreFoundThroughTheBlocks) {
  VmallocArea area;
  area.order = 1;
  for (int i = 0; i < 2; ++i) area.blocks.push_back(machine_.arena().Allocate(1).value());
  std::swap(area.blocks[0], area.blocks[1]);
  std::vector<std::byte> in(3 * kPage);
  for (size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::byte>(i / 7);
  ASSERT_TRUE(WriteVmallocBytes(machine_.memory(), area, 100, in).ok());
  std::vector<std::byte> out(in.size());
  ASSERT_TRUE(ReadVmallocBytes(machine_.memory(), area, 100, absl::MakeSpan(out)).ok());
  EXPECT_EQ(out, in);
  EXPECT_EQ(
      ReadStruct<uint8_t>(machine_.memory(), PhysicalAddress(area.blocks[0].value() + 100 + 7))
          .value(),
      1);
  EXPECT_EQ(ReadVmallocBytes(machine_.memory(), area, kPage + 1, absl::MakeSpan(out)).code(),
            absl::StatusCode::kOutOfRange);
  EXPECT_EQ(WriteVmallocBytes(machine_.memory(), area, ~uint64_t{0}, in).code(),
            absl::StatusCode::kOutOfRange);
}

}  // namespace
}  // namespace luo
