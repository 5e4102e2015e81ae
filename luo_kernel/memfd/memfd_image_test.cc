#include "luo_kernel/memfd/memfd_image.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/status.h"
#include "base/unique_fd.h"
#include "gtest/gtest.h"
#include "luo_kernel/luo/booting_machine.h"

namespace luo {
namespace {

using vmm::StatusErrno;
using vmm::UniqueFd;

constexpr uint64_t kBoth = abi::kFolioDirty | abi::kFolioUptodate;

class MemfdImageTest : public testing::Test {
 protected:
  void SetUp() override { machine_.PowerOn(); }
  OutgoingHandover& outgoing() { return machine_.outgoing(); }
  WritablePhysicalMemory& memory() { return machine_.memory(); }

  // A page that begins with `text`.
  PhysicalAddress Folio(const std::string& text, unsigned order = 0) {
    const PhysicalAddress folio = *outgoing().AllocatePreserved(BytesOfOrder(order));
    memcpy(memory().Write(folio, text.size())->data(), text.data(), text.size());
    orders_[folio.value()] = order;
    return folio;
  }
  FolioOrder Orders() {
    return [this](PhysicalAddress address) -> absl::StatusOr<unsigned> {
      const auto order = orders_.find(address.value());
      if (order == orders_.end()) return absl::NotFoundError("not preserved");
      return order->second;
    };
  }
  absl::StatusOr<MemfdImage> RoundTrip(uint64_t size, const std::vector<FolioImage>& folios) {
    const absl::StatusOr<PhysicalAddress> at = WriteMemfdSer(outgoing(), 5, size, 0, folios);
    RETURN_IF_ERROR(at.status());
    return ReadMemfd(memory(), *at);
  }
  absl::StatusOr<UniqueFd> CopyOut(uint64_t size, const std::vector<FolioImage>& folios) {
    ASSIGN_OR_RETURN(const MemfdImage image, RoundTrip(size, folios));
    return CopyOutMemfd(memory(), image, Orders());
  }
  static std::string Get(const UniqueFd& fd, uint64_t offset, size_t size) {
    std::string text(size, '?');
    const ssize_t got = pread(fd.get(), text.data(), size, static_cast<off_t>(offset));
    text.resize(got < 0 ? 0 : static_cast<size_t>(got));
    return text;
  }

  BootingMachine machine_;
  std::map<uint64_t, unsigned> orders_;
};

TEST_F(MemfdImageTest, CopiesFoliosOfAnyOrderAndLeavesHoles) {
  const absl::StatusOr<UniqueFd> fd =
      CopyOut(40 * 4096 + 3, {{Folio("single"), kBoth, 1},
                              {Folio("sixteen", 4), kBoth, 16},
                              {Folio("tail"), kBoth, 40},
                              {Folio("unused"), abi::kFolioDirty, 3}});
  ASSERT_TRUE(fd.ok()) << fd.status();
  EXPECT_EQ(Get(*fd, 4096, 6), "single");
  EXPECT_EQ(Get(*fd, 16 * 4096, 7), "sixteen");
  EXPECT_EQ(Get(*fd, 40 * 4096, 10), "tai");
  EXPECT_EQ(Get(*fd, 0, 4), std::string(4, '\0'));
  EXPECT_EQ(Get(*fd, 3 * 4096, 6), std::string(6, '\0'));
  EXPECT_EQ(lseek(fd->get(), 0, SEEK_CUR), 5);
  struct stat info;
  ASSERT_EQ(fstat(fd->get(), &info), 0);
  EXPECT_LE(info.st_blocks, 20 * 8);
}

TEST_F(MemfdImageTest, PageFrameZeroIsNoFolio) {
  const absl::StatusOr<MemfdImage> image =
      RoundTrip(3 * 4096, {{PhysicalAddress(0), kBoth, 0}, {Folio("x"), kBoth, 1}});
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->folios.size(), 1u);
}

TEST_F(MemfdImageTest, FoliosInAnyOrderAreSorted) {
  const PhysicalAddress a = Folio("a"), b = Folio("b");
  const absl::StatusOr<MemfdImage> image = RoundTrip(8192, {{b, kBoth, 1}, {a, kBoth, 0}});
  ASSERT_TRUE(image.ok()) << image.status();
  EXPECT_EQ(image->folios[0].address, a);
  EXPECT_EQ(image->folios[1].address, b);
}

TEST_F(MemfdImageTest, FoliosThatCannotBeAreRefused) {
  const PhysicalAddress a = Folio("a"), big = Folio("big", 2);
  EXPECT_TRUE(absl::IsDataLoss(RoundTrip(8192, {{a, kBoth, 0}, {big, kBoth, 0}}).status()));
  EXPECT_TRUE(absl::IsDataLoss(RoundTrip(8192, {{a, kBoth, 2}}).status()));
  EXPECT_TRUE(absl::IsDataLoss(RoundTrip(8192, {{a, kBoth, ~uint64_t{0}}}).status()));
  EXPECT_TRUE(absl::IsOutOfRange(RoundTrip(8192, {{PhysicalAddress(4096), kBoth, 0}}).status()));
  // In the file, one over the other; one folio in two places; not preserved.
  EXPECT_TRUE(absl::IsDataLoss(CopyOut(40960, {{big, kBoth, 0}, {a, kBoth, 3}}).status()));
  EXPECT_TRUE(absl::IsDataLoss(CopyOut(40960, {{a, kBoth, 0}, {a, kBoth, 1}}).status()));
  const PhysicalAddress inside(big.value() + 4096);
  EXPECT_TRUE(absl::IsNotFound(CopyOut(40960, {{inside, kBoth, 0}}).status()));
  orders_[inside.value()] = 2;
  EXPECT_TRUE(absl::IsDataLoss(CopyOut(40960, {{inside, kBoth, 0}}).status()));
  orders_[big.value()] = 40;
  EXPECT_FALSE(CopyOut(40960, {{big, kBoth, 0}}).ok());
}

TEST_F(MemfdImageTest, ListsThatAreShorterThanTheySayAreRefused) {
  const PhysicalAddress at = *WriteMemfdSer(outgoing(), 0, 4096, 0, {{Folio("a"), kBoth, 0}});
  auto ser = *ReadStruct<abi::MemfdSer>(memory(), at);
  for (uint64_t count : {uint64_t{257}, uint64_t{1} << 60, ~uint64_t{0}}) {
    ser.nr_folios = count;
    ASSERT_EQ(WriteStruct(memory(), at, ser), absl::OkStatus());
    EXPECT_TRUE(absl::IsDataLoss(ReadMemfd(memory(), at).status())) << count;
  }
  ser.nr_folios = 1;
  ser.flags = 1;
  ASSERT_EQ(WriteStruct(memory(), at, ser), absl::OkStatus());
  EXPECT_EQ(StatusErrno(ReadMemfd(memory(), at).status()), EOPNOTSUPP);
}

TEST_F(MemfdImageTest, SizesThatNoFileHasAreRefused) {
  MemfdImage image;
  image.size = ~uint64_t{0};
  EXPECT_EQ(StatusErrno(CopyOutMemfd(memory(), image, Orders()).status()), EFBIG);
}

TEST_F(MemfdImageTest, WrittenContentsAreRead) {
  std::string bytes(3 * 4096 + 100, 'x');
  bytes[0] = 'a';
  bytes.back() = 'z';
  MemfdContents contents = ContentsOf(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()));
  contents.seals = F_SEAL_GROW;
  contents.position = 3;
  const BootingMachine::Usage before = machine_.usage();
  const absl::StatusOr<PhysicalAddress> at = WriteMemfd(outgoing(), contents);
  ASSERT_TRUE(at.ok()) << at.status();
  const absl::StatusOr<MemfdImage> image = ReadMemfd(memory(), *at);
  ASSERT_TRUE(image.ok()) << image.status();
  ASSERT_EQ(image->folios.size(), 1u);
  EXPECT_TRUE(outgoing().IsPreserved(image->folios[0].address, 2));
  const auto orders = [this](PhysicalAddress address) -> absl::StatusOr<unsigned> {
    for (unsigned order = 0; order < 10; ++order) {
      if (outgoing().IsPreserved(address, order)) return order;
    }
    return absl::NotFoundError("not preserved");
  };
  const absl::StatusOr<UniqueFd> fd = CopyOutMemfd(memory(), *image, orders);
  ASSERT_TRUE(fd.ok()) << fd.status();
  EXPECT_EQ(Get(*fd, 0, bytes.size() + 1), bytes);
  EXPECT_EQ(fcntl(fd->get(), F_GET_SEALS), F_SEAL_GROW);
  // Undone, it leaves nothing.
  ASSERT_EQ(FreeMemfdSer(outgoing(), *at), absl::OkStatus());
  ASSERT_EQ(outgoing().FreePreserved(image->folios[0].address, 4 * 4096), absl::OkStatus());
  EXPECT_EQ(machine_.usage(), before);
}

TEST_F(MemfdImageTest, AFailedWriteLeavesNothing) {
  const BootingMachine::Usage before = machine_.usage();
  MemfdContents contents;
  contents.size = 5 << 20;
  contents.max_order = 3;
  int reads = 0;
  contents.read = [&reads](uint64_t, absl::Span<std::byte>) {
    return ++reads == 50 ? vmm::ErrnoStatus(EIO, "read") : absl::OkStatus();
  };
  EXPECT_EQ(StatusErrno(WriteMemfd(outgoing(), contents).status()), EIO);
  EXPECT_EQ(machine_.usage(), before);
  // More than there is.
  contents.size = 100 << 20;
  reads = 100;
  EXPECT_TRUE(absl::IsResourceExhausted(WriteMemfd(outgoing(), contents).status()));
  EXPECT_EQ(machine_.usage(), before);
  contents.max_order = 11;
  EXPECT_TRUE(absl::IsInvalidArgument(WriteMemfd(outgoing(), contents).status()));
  contents.max_order = 9;
  contents.seals = 0x40;
  EXPECT_EQ(StatusErrno(WriteMemfd(outgoing(), contents).status()), EOPNOTSUPP);
}

}  // namespace
}  // namespace luo
