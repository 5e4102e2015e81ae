#include "luo_kernel/memfd/memfd_handler.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <type_traits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "gtest/gtest.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/luo/booting_machine.h"
#include "luo_kernel/luo/image.h"
#include "luo_kernel/luo/live_update.h"
#include "luo_kernel/memfd/memfd_image.h"

namespace luo {
namespace {

using vmm::StatusErrno;
using vmm::UniqueFd;

UniqueFd Memfd(uint64_t size, unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING) {
  UniqueFd fd(memfd_create("test", flags));
  EXPECT_TRUE(fd.valid());
  EXPECT_EQ(ftruncate(fd.get(), static_cast<off_t>(size)), 0);
  return fd;
}

UniqueFd Dup(const UniqueFd& fd) { return UniqueFd(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0)); }

void Put(const UniqueFd& fd, uint64_t offset, const std::string& text) {
  ASSERT_EQ(pwrite(fd.get(), text.data(), text.size(), static_cast<off_t>(offset)),
            static_cast<ssize_t>(text.size()));
}

std::string Get(const UniqueFd& fd, uint64_t offset, size_t size) {
  std::string text(size, '?');
  const ssize_t got = pread(fd.get(), text.data(), size, static_cast<off_t>(offset));
  text.resize(got < 0 ? 0 : static_cast<size_t>(got));
  return text;
}

struct stat Stat(const UniqueFd& fd) {
  struct stat info = {};
  EXPECT_EQ(fstat(fd.get(), &info), 0);
  return info;
}

class MemfdHandlerTest : public testing::Test {
 protected:
  void SetUp() override {
    machine_.on_boot = [this](BootingMachine& machine) {
      handler_ = std::make_shared<MemfdHandler>(&machine.memory(), &machine.outgoing(),
                                                machine.incoming(), options_);
      ASSERT_EQ(machine.luo().RegisterFileHandler(handler_), absl::OkStatus());
    };
    machine_.PowerOn();
    session_ = *machine_.luo().CreateSession("s");
  }

  void Kexec() {
    ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
    Retrieve();
  }
  void Retrieve() {
    ASSERT_EQ(machine_.luo().Deserialize(), absl::OkStatus());
    session_ = *machine_.luo().RetrieveSession("s");
  }
  MemfdImage Preserved(uint64_t token) {
    EXPECT_EQ(machine_.luo().Reboot(), absl::OkStatus());
    const Subtree subtree = *machine_.outgoing().FindSubtree("LUO");
    const LuoImage image = *ReadLuo(machine_.memory(), subtree.address, subtree.size);
    machine_.luo().CancelReboot();
    for (const FileImage& file : image.sessions.at(0).files) {
      if (file.token == token) return *ReadMemfd(machine_.memory(), PhysicalAddress(file.data));
    }
    ADD_FAILURE() << "no token " << token;
    return {};
  }

  MemfdHandler::Options options_;
  BootingMachine machine_;
  std::shared_ptr<MemfdHandler> handler_;
  std::unique_ptr<Session> session_;
};

TEST_F(MemfdHandlerTest, ContentsSizeAndPositionComeThroughWithoutACopy) {
  UniqueFd file = Memfd(3 << 20);
  Put(file, 0, "first");
  Put(file, (3 << 20) - 4, "last");
  ASSERT_EQ(session_->PreserveFd(1, Dup(file)), absl::OkStatus());
  // While it is preserved it goes on being used.
  Put(file, 1 << 20, "middle");
  ASSERT_EQ(lseek(file.get(), 77, SEEK_SET), 77);
  const ino_t inode = Stat(file).st_ino;
  ASSERT_EQ(machine_.luo().Reboot(), absl::OkStatus());
  file.Reset();
  ASSERT_EQ(machine_.Boot(machine_.outgoing().data()), absl::OkStatus());
  Retrieve();

  absl::StatusOr<UniqueFd> again = session_->RetrieveFd(1);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Stat(*again).st_ino, inode);
  EXPECT_EQ(Stat(*again).st_size, 3 << 20);
  EXPECT_EQ(lseek(again->get(), 0, SEEK_CUR), 77);
  EXPECT_EQ(Get(*again, 0, 5), "first");
  EXPECT_EQ(Get(*again, 1 << 20, 6), "middle");
  EXPECT_EQ(Get(*again, (3 << 20) - 4, 10), "last");
  EXPECT_EQ(fcntl(again->get(), F_GETFL) & O_ACCMODE, O_RDWR);
}

TEST_F(MemfdHandlerTest, WhatComesBackIsAnotherOpenFile) {
  UniqueFd file = Memfd(4096);
  ASSERT_EQ(session_->PreserveFd(1, Dup(file)), absl::OkStatus());
  Kexec();
  absl::StatusOr<UniqueFd> again = session_->RetrieveFd(1);
  ASSERT_TRUE(again.ok()) << again.status();
  ASSERT_EQ(lseek(again->get(), 5, SEEK_SET), 5);
  EXPECT_EQ(lseek(file.get(), 0, SEEK_CUR), 0);
}

TEST_F(MemfdHandlerTest, SealsComeThrough) {
  const int seals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL | F_SEAL_WRITE;
  UniqueFd file = Memfd(8192);
  Put(file, 4096, "sealed");
  ASSERT_EQ(fcntl(file.get(), F_ADD_SEALS, seals), 0);
  ASSERT_EQ(session_->PreserveFd(1, Dup(file)), absl::OkStatus());
  EXPECT_EQ(Preserved(1).seals, static_cast<uint32_t>(seals));
  file.Reset();
  Kexec();
  absl::StatusOr<UniqueFd> again = session_->RetrieveFd(1);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(fcntl(again->get(), F_GET_SEALS), seals);
  EXPECT_EQ(Get(*again, 4096, 6), "sealed");
}

TEST_F(MemfdHandlerTest, DescribesAFileAsLinuxDoes) {
  // 5 pages and a bit behind a huge page.
  UniqueFd file = Memfd((2 << 20) + 5 * 4096 + 1);
  ASSERT_EQ(session_->PreserveFd(1, Dup(file)), absl::OkStatus());
  const MemfdImage image = Preserved(1);
  EXPECT_EQ(image.size, (2u << 20) + 5 * 4096 + 1);
  ASSERT_EQ(image.folios.size(), 3u);
  const uint64_t start = image.folios[0].address.value();
  const unsigned orders[] = {9, 2, 1};
  uint64_t index = 0;
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(image.folios[i].index, index);
    EXPECT_EQ(image.folios[i].address.value(), start + index * 4096);
    EXPECT_EQ(image.folios[i].flags, abi::kFolioDirty | abi::kFolioUptodate);
    EXPECT_TRUE(machine_.outgoing().IsPreserved(image.folios[i].address, orders[i])) << i;
    EXPECT_EQ(image.folios[i].address.value() % BytesOfOrder(orders[i]), 0u);
    index += 1u << orders[i];
  }
}

TEST_F(MemfdHandlerTest, FillsHoles) {
  UniqueFd file = Memfd(1 << 20);
  ASSERT_LT(Stat(file).st_blocks, (1 << 20) / 512);
  ASSERT_EQ(session_->PreserveFd(1, Dup(file)), absl::OkStatus());
  EXPECT_GE(Stat(file).st_blocks, (1 << 20) / 512);
}

TEST_F(MemfdHandlerTest, FillsAHoleInAFileThatIsNearlyFull) {
  UniqueFd file = Memfd(64 * 4096);
  ASSERT_EQ(fallocate(file.get(), 0, 0, 64 * 4096), 0);
  ASSERT_EQ(fallocate(file.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 4096, 4096), 0);
  ASSERT_EQ(session_->PreserveFd(1, Dup(file)), absl::OkStatus());
  EXPECT_GE(Stat(file).st_blocks, 64 * 8);
}

TEST_F(MemfdHandlerTest, AReadOnlyDescriptorIsPreservedToo) {
  UniqueFd file = Memfd(8192);
  Put(file, 0, "x");
  UniqueFd reader(open(absl::StrCat("/proc/self/fd/", file.get()).c_str(), O_RDONLY));
  ASSERT_EQ(session_->PreserveFd(1, std::move(reader)), absl::OkStatus());
  Kexec();
  absl::StatusOr<UniqueFd> again = session_->RetrieveFd(1);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Get(*again, 0, 1), "x");
}

TEST_F(MemfdHandlerTest, AnEmptyFileHasNoFolios) {
  UniqueFd file = Memfd(0);
  ASSERT_EQ(lseek(file.get(), 9, SEEK_SET), 9);
  ASSERT_EQ(fcntl(file.get(), F_ADD_SEALS, F_SEAL_GROW), 0);
  ASSERT_EQ(session_->PreserveFd(1, std::move(file)), absl::OkStatus());
  EXPECT_TRUE(Preserved(1).folios.empty());
  Kexec();
  absl::StatusOr<UniqueFd> again = session_->RetrieveFd(1);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Stat(*again).st_size, 0);
  EXPECT_EQ(lseek(again->get(), 0, SEEK_CUR), 9);
  EXPECT_EQ(fcntl(again->get(), F_GET_SEALS), F_SEAL_GROW);
}

TEST_F(MemfdHandlerTest, TheSameFileIsBusyUnderAnyDescriptor) {
  UniqueFd file = Memfd(4096);
  ASSERT_EQ(session_->PreserveFd(1, Dup(file)), absl::OkStatus());
  UniqueFd other(open(absl::StrCat("/proc/self/fd/", file.get()).c_str(), O_RDWR));
  EXPECT_EQ(StatusErrno(session_->PreserveFd(2, std::move(other))), EBUSY);
}

TEST_F(MemfdHandlerTest, KnowsMemfdsOnly) {
  EXPECT_TRUE(handler_->CanPreserve(Memfd(0).get()));
  EXPECT_TRUE(handler_->CanPreserve(Memfd(0, MFD_CLOEXEC).get()));
  EXPECT_FALSE(handler_->CanPreserve(UniqueFd(eventfd(0, 0)).get()));
  EXPECT_FALSE(handler_->CanPreserve(UniqueFd(open("/proc/self/status", O_RDONLY)).get()));
  EXPECT_FALSE(handler_->CanPreserve(UniqueFd(open("/", O_RDONLY)).get()));
  EXPECT_FALSE(handler_->CanPreserve(-1));
  UniqueFd huge(memfd_create("huge", MFD_CLOEXEC | MFD_HUGETLB));
  if (huge.valid()) {
    EXPECT_FALSE(handler_->CanPreserve(huge.get()));
  }
}

TEST_F(MemfdHandlerTest, RefusesAFileOf2To32Pages) {
  UniqueFd file(memfd_create("large", MFD_CLOEXEC));
  if (ftruncate(file.get(), int64_t{1} << 44) < 0) GTEST_SKIP() << "no file of 16 TiB here";
  EXPECT_EQ(StatusErrno(session_->PreserveFd(1, std::move(file))), EFBIG);
}

TEST_F(MemfdHandlerTest, AResizeCallsTheKexecOff) {
  UniqueFd file = Memfd(8192);
  ASSERT_EQ(session_->PreserveFd(1, Dup(file)), absl::OkStatus());
  ASSERT_EQ(ftruncate(file.get(), 4096), 0);
  EXPECT_EQ(StatusErrno(machine_.Kexec()), EPERM);
  ASSERT_EQ(ftruncate(file.get(), 8192), 0);
  EXPECT_EQ(machine_.Kexec(), absl::OkStatus());
}

TEST_F(MemfdHandlerTest, PinnedAFileCannotBeResized) {
  options_.pin_size = true;
  MemfdHandler pinning(&machine_.memory(), &machine_.outgoing(), nullptr, options_);
  UniqueFd file = Memfd(8192);
  FileOpArgs args;
  args.file = file.get();
  ASSERT_EQ(pinning.Preserve(args), absl::OkStatus());
  EXPECT_EQ(ftruncate(file.get(), 4096), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(ftruncate(file.get(), 16384), -1);
  EXPECT_EQ(errno, EPERM);
  const auto ser = ReadStruct<abi::MemfdSer>(machine_.memory(), PhysicalAddress(args.data));
  EXPECT_EQ(ser->seals, 0u);
  pinning.Unpreserve(args);
}

TEST_F(MemfdHandlerTest, UnpreserveLeavesNothing) {
  const BootingMachine::Usage before = machine_.usage();
  ASSERT_EQ(session_->PreserveFd(1, Memfd((4 << 20) + 123)), absl::OkStatus());
  ASSERT_EQ(session_->PreserveFd(2, Memfd(0)), absl::OkStatus());
  EXPECT_EQ(machine_.usage().extents, before.extents + 1);
  session_.reset();
  session_ = *machine_.luo().CreateSession("s");
  EXPECT_EQ(machine_.usage(), before);
}

TEST_F(MemfdHandlerTest, WithoutMemoryForMetadataNothingIsLeft) {
  std::vector<PhysicalAddress> hoard;
  for (;;) {
    const absl::StatusOr<PhysicalAddress> page = machine_.arena().Allocate(0);
    if (!page.ok()) break;
    hoard.push_back(*page);
  }
  // One page more each time, until it is enough.
  for (int given = 0;; ++given) {
    ASSERT_LT(given, 100);
    const BootingMachine::Usage before = machine_.usage();
    const absl::Status status = session_->PreserveFd(1, Memfd(16 << 20));
    if (status.ok()) break;
    EXPECT_EQ(StatusErrno(status), ENOMEM) << status;
    EXPECT_EQ(machine_.usage().preserved_pages, before.preserved_pages);
    EXPECT_EQ(machine_.usage().extents, before.extents);
    ASSERT_EQ(machine_.arena().Free(hoard.back(), 0), absl::OkStatus());
    hoard.pop_back();
  }
}

TEST_F(MemfdHandlerTest, WhatNobodyRetrievesIsGivenBack) {
  session_.reset();
  const BootingMachine::Usage before = machine_.usage();
  session_ = *machine_.luo().CreateSession("s");
  ASSERT_EQ(session_->PreserveFd(1, Memfd(1 << 20)), absl::OkStatus());
  ASSERT_EQ(session_->PreserveFd(2, Memfd(1 << 20)), absl::OkStatus());
  ASSERT_EQ(session_->PreserveFd(3, Memfd(0)), absl::OkStatus());
  Kexec();
  ASSERT_TRUE(session_->RetrieveFd(2).ok());
  session_.reset();
  const BootingMachine::Usage after = machine_.usage();
  EXPECT_EQ(after.extents, before.extents);
  EXPECT_EQ(after.preserved_pages, before.preserved_pages);
  // Of the incoming handover only what is KHO's own is left.
  EXPECT_LE(after.unrestored_blocks, 1u);
}

TEST_F(MemfdHandlerTest, AFileThatComesBackCanGoAgain) {
  UniqueFd file = Memfd(2 << 20);
  Put(file, 12345, "round");
  for (int round = 0; round < 4; ++round) {
    ASSERT_EQ(session_->PreserveFd(1, std::move(file)), absl::OkStatus());
    Kexec();
    absl::StatusOr<UniqueFd> again = session_->RetrieveFd(1);
    ASSERT_TRUE(again.ok()) << again.status();
    file = *std::move(again);
    EXPECT_EQ(Get(file, 12345, 5), "round");
    ASSERT_EQ(session_->Finish(), absl::OkStatus());
    session_ = *machine_.luo().CreateSession("s");
  }
}

// What another kernel left in memory of its own: here the arena.
class CopyOutTest : public MemfdHandlerTest {
 protected:
  // Hands over `contents` as token 1 of a session "s" that another kernel's LUO had.
  void HandOver(const MemfdContents& contents) {
    Replace([&](OutgoingHandover& outgoing) {
      const absl::StatusOr<PhysicalAddress> data = WriteMemfd(outgoing, contents);
      EXPECT_TRUE(data.ok()) << data.status();
      return data->value();
    });
  }
  // What `write` returns is the data of token 1; what `write_second` does, given that, of token 2.
  template <typename Write>
  void Replace(Write write) {
    Replace(write, nullptr);
  }
  template <typename Write, typename WriteSecond>
  void Replace(Write write, WriteSecond write_second) {
    session_.reset();
    ASSERT_EQ(machine_.outgoing().RemoveSubtree(machine_.outgoing().FindSubtree("LUO")->address),
              absl::OkStatus());
    const uint64_t data = write(machine_.outgoing());
    LuoImage image;
    image.number = 1;
    image.sessions = {{"s", {{abi::kMemfdCompatible, data, 1}}}};
    if constexpr (!std::is_null_pointer_v<WriteSecond>) {
      image.sessions[0].files.push_back(
          {abi::kMemfdCompatible, write_second(machine_.outgoing(), data), 2});
    }
    ASSERT_EQ(WriteLuoV5(machine_.outgoing(), image), absl::OkStatus());
    ASSERT_EQ(machine_.Boot(machine_.outgoing().data()), absl::OkStatus());
    Retrieve();
  }
};

TEST_F(CopyOutTest, IsCopiedIntoANewFile) {
  std::string bytes((1 << 20) + 777, '\0');
  for (size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<char>(i * 7 + i / 4096);
  MemfdContents contents = ContentsOf(
      absl::MakeConstSpan(reinterpret_cast<const std::byte*>(bytes.data()), bytes.size()));
  contents.position = 42;
  contents.seals = F_SEAL_SEAL | F_SEAL_GROW;
  HandOver(contents);
  absl::StatusOr<UniqueFd> file = session_->RetrieveFd(1);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(Get(*file, 0, bytes.size() + 10), bytes);
  EXPECT_EQ(lseek(file->get(), 0, SEEK_CUR), 42);
  EXPECT_EQ(fcntl(file->get(), F_GET_SEALS), F_SEAL_SEAL | F_SEAL_GROW);
  ASSERT_EQ(session_->Finish(), absl::OkStatus());
  session_.reset();
  // The root pages of KHO and of the LUO that was replaced, and its FLBs.
  EXPECT_LE(machine_.usage().unrestored_blocks, 3u);
}

TEST_F(CopyOutTest, FoliosThatAreNotPreservedAreAnError) {
  Replace([this](OutgoingHandover& outgoing) {
    const PhysicalAddress lost = *machine_.arena().Allocate(0);
    const PhysicalAddress kept = *outgoing.AllocatePreserved(4096);
    return WriteMemfdSer(outgoing, 0, 8192, 0, {{kept, 3, 0}, {lost, 3, 1}})->value();
  });
  EXPECT_EQ(StatusErrno(session_->RetrieveFd(1).status()), EIO);
  EXPECT_EQ(StatusErrno(session_->RetrieveFd(1).status()), EIO);
  EXPECT_EQ(session_->Finish(), absl::OkStatus());
}

TEST_F(CopyOutTest, AFolioOfTwoFilesIsRetrievedOnce) {
  Replace(
      [](OutgoingHandover& outgoing) {
        const PhysicalAddress shared = *outgoing.AllocatePreserved(4096);
        return WriteMemfdSer(outgoing, 0, 4096, 0, {{shared, 3, 0}})->value();
      },
      [](OutgoingHandover& outgoing, uint64_t first) {
        const MemfdImage image = *ReadMemfd(outgoing.memory(), PhysicalAddress(first));
        return WriteMemfdSer(outgoing, 0, 4096, 0, image.folios)->value();
      });
  EXPECT_TRUE(session_->RetrieveFd(1).ok());
  EXPECT_EQ(StatusErrno(session_->RetrieveFd(2).status()), EIO);
  EXPECT_EQ(session_->Finish(), absl::OkStatus());
}

TEST_F(CopyOutTest, ASealNobodyKnowsIsAnError) {
  Replace(
      [](OutgoingHandover& outgoing) { return WriteMemfdSer(outgoing, 0, 0, 0x40, {})->value(); });
  EXPECT_EQ(StatusErrno(session_->RetrieveFd(1).status()), EOPNOTSUPP);
}

TEST_F(CopyOutTest, NoDescriptionIsAnError) {
  Replace([](OutgoingHandover&) { return uint64_t{0}; });
  EXPECT_EQ(StatusErrno(session_->RetrieveFd(1).status()), EINVAL);
}

TEST_F(CopyOutTest, ADescriptionOutsideMemoryIsAnError) {
  Replace([](OutgoingHandover&) { return uint64_t{0xffffffffffffffff}; });
  EXPECT_EQ(StatusErrno(session_->RetrieveFd(1).status()), EINVAL);
  EXPECT_EQ(session_->Finish(), absl::OkStatus());
}

TEST_F(CopyOutTest, ExtentsInAnotherOrderAreAnError) {
  Replace([this](OutgoingHandover& outgoing) {
    const PhysicalAddress start =
        *machine_.memory().AddAnywhere(Memfd(8192), 0, 8192, ExtentUse::kData);
    const PhysicalAddress second(start.value() + 4096);
    EXPECT_EQ(outgoing.PreserveFolio(start, 0), absl::OkStatus());
    EXPECT_EQ(outgoing.PreserveFolio(second, 0), absl::OkStatus());
    return WriteMemfdSer(outgoing, 0, 8192, 0, {{second, 3, 0}, {start, 3, 1}})->value();
  });
  EXPECT_EQ(StatusErrno(session_->RetrieveFd(1).status()), EIO);
}

TEST_F(CopyOutTest, AFileThatWasCutIsAnError) {
  UniqueFd file = Memfd(8192);
  Replace([&](OutgoingHandover& outgoing) {
    const PhysicalAddress start =
        *machine_.memory().AddAnywhere(Dup(file), 0, 8192, ExtentUse::kData);
    EXPECT_EQ(outgoing.PreserveFolio(start, 1), absl::OkStatus());
    return WriteMemfdSer(outgoing, 0, 8192, 0, {{start, 3, 0}})->value();
  });
  ASSERT_EQ(ftruncate(file.get(), 4096), 0);
  EXPECT_EQ(StatusErrno(session_->RetrieveFd(1).status()), EIO);
}

}  // namespace
}  // namespace luo
