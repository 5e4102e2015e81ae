// What another kernel left is not trusted: each lie is found, at boot or when the device is opened.
#include <errno.h>
#include <string.h>

#include <memory>
#include <string>

#include "base/status.h"
#include "gtest/gtest.h"
#include "luo_kernel/abi/block.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/luo/booting_machine.h"
#include "luo_kernel/luo/fake_handler.h"
#include "luo_kernel/luo/live_update_fixture.h"

namespace luo {
namespace {

using vmm::StatusErrno;

class HostileTest : public LiveUpdateTest {
 protected:
  // A session with a file, ready for a kexec.
  void Freeze() {
    session_ = Create("a");
    ASSERT_EQ(session_->PreserveFd(1, NumberFile(1)), absl::OkStatus());
    other_ = Create("b");
    ASSERT_EQ(machine_.luo().Reboot(), absl::OkStatus());
    root_at_ = machine_.outgoing().FindSubtree("LUO")->address;
    root_ = Root();
    session_at_ = PhysicalAddress(root_.sessions_pa + sizeof(abi::BlockHeader));
    session_ser_ = *ReadStruct<abi::LuoSessionSer>(machine_.memory(), session_at_);
  }
  template <typename T>
  void Put(PhysicalAddress at, const T& value) {
    ASSERT_EQ(WriteStruct(machine_.memory(), at, value), absl::OkStatus());
  }
  absl::Status Boot() { return machine_.Boot(machine_.outgoing().data()); }
  int DeserializeErrno() {
    EXPECT_EQ(Boot(), absl::OkStatus());
    const absl::Status status = machine_.luo().Deserialize();
    EXPECT_FALSE(status.ok());
    EXPECT_EQ(StatusErrno(machine_.luo().OpenDevice()), EIO);
    return StatusErrno(status);
  }

  std::unique_ptr<Session> session_, other_;
  PhysicalAddress root_at_, session_at_;
  abi::LuoSer root_;
  abi::LuoSessionSer session_ser_;
};

TEST_F(HostileTest, AnotherVersionIsNotBooted) {
  Freeze();
  memcpy(root_.compatible, "luo-v6", 7);
  Put(root_at_, root_);
  EXPECT_EQ(StatusErrno(Boot()), EINVAL);
}

TEST_F(HostileTest, AVersionWithoutItsEndIsNotBooted) {
  Freeze();
  memcpy(root_.compatible, "luo-v5xx", 8);
  Put(root_at_, root_);
  EXPECT_EQ(StatusErrno(Boot()), EINVAL);
}

TEST_F(HostileTest, SessionsOutsideMemoryAreNotBooted) {
  Freeze();
  root_.sessions_pa = 0xfffffffffffff000;
  Put(root_at_, root_);
  EXPECT_FALSE(Boot().ok());
}

TEST_F(HostileTest, SessionsThatGoInCirclesAreNotBooted) {
  Freeze();
  Put(PhysicalAddress(root_.sessions_pa), abi::BlockHeader{root_.sessions_pa, 2});
  EXPECT_EQ(Boot().code(), absl::StatusCode::kDataLoss);
}

class HostileCountTest : public HostileTest, public ::testing::WithParamInterface<uint64_t> {};

TEST_P(HostileCountTest, OfSessionsIsNotBooted) {
  Freeze();
  Put(PhysicalAddress(root_.sessions_pa), abi::BlockHeader{0, GetParam()});
  EXPECT_EQ(Boot().code(), absl::StatusCode::kDataLoss);
}

TEST_P(HostileCountTest, OfFilesIsRefused) {
  Freeze();
  Put(PhysicalAddress(session_ser_.file_set.files), abi::BlockHeader{0, GetParam()});
  session_ser_.file_set.count = GetParam();
  Put(session_at_, session_ser_);
  EXPECT_EQ(Boot(), absl::OkStatus());
  EXPECT_FALSE(machine_.luo().Deserialize().ok());
}

// None; more than fit of either; numbers that wrap, to 0 and to what is there, when they are
// multiplied by an entry's size, 80 or 64; all bits.
INSTANTIATE_TEST_SUITE_P(OverflowAndWrap, HostileCountTest,
                         ::testing::Values(0, 64, uint64_t{1} << 58, (uint64_t{1} << 58) + 1,
                                           uint64_t{1} << 60, (uint64_t{1} << 60) + 2,
                                           ~uint64_t{0}));

TEST_F(HostileTest, FlbsOutsideMemoryAreNotBooted) {
  Freeze();
  root_.flbs_pa = 0x1000;
  Put(root_at_, root_);
  EXPECT_FALSE(Boot().ok());
}

TEST_F(HostileTest, TooManyFlbsAreNotBooted) {
  Freeze();
  Put(PhysicalAddress(root_.flbs_pa), abi::LuoFlbHeaderSer{1, 64});
  EXPECT_EQ(Boot().code(), absl::StatusCode::kDataLoss);
}

TEST_F(HostileTest, AFileCountThatIsNotTheListsIsRefused) {
  Freeze();
  session_ser_.file_set.count = 2;
  Put(session_at_, session_ser_);
  EXPECT_EQ(DeserializeErrno(), EINVAL);
}

TEST_F(HostileTest, TwoSessionsOfOneNameAreRefused) {
  Freeze();
  session_ser_.name[0] = 'b';
  Put(session_at_, session_ser_);
  EXPECT_EQ(DeserializeErrno(), EEXIST);
}

TEST_F(HostileTest, TwoSessionsWithOneListOfFilesAreRefused) {
  Freeze();
  memcpy(session_ser_.name, "c", 2);
  Put(PhysicalAddress(session_at_.value() + sizeof(session_ser_)), session_ser_);
  EXPECT_EQ(Boot(), absl::OkStatus());
  EXPECT_FALSE(machine_.luo().Deserialize().ok());
}

TEST_F(HostileTest, FilesThatGoInCirclesAreRefused) {
  Freeze();
  const uint64_t files = session_ser_.file_set.files;
  Put(PhysicalAddress(files), abi::BlockHeader{files, 1});
  EXPECT_EQ(Boot(), absl::OkStatus());
  EXPECT_FALSE(machine_.luo().Deserialize().ok());
}

TEST_F(HostileTest, FilesInTheSessionsBlockAreRefused) {
  Freeze();
  session_ser_.file_set = {root_.sessions_pa, 2};
  Put(session_at_, session_ser_);
  EXPECT_EQ(Boot(), absl::OkStatus());
  EXPECT_FALSE(machine_.luo().Deserialize().ok());
}

TEST_F(HostileTest, AHandlerNobodyHasRefusesAll) {
  Freeze();
  Put(PhysicalAddress(session_ser_.file_set.files + sizeof(abi::BlockHeader)),
      abi::LuoFileSer{.compatible = "fake-v9", .data = 1, .token = 1});
  EXPECT_EQ(DeserializeErrno(), ENOENT);
}

TEST_F(HostileTest, ANameWithoutEndIsCut) {
  Freeze();
  memset(session_ser_.name, 'x', sizeof(session_ser_.name));
  Put(session_at_, session_ser_);
  ASSERT_EQ(Boot(), absl::OkStatus());
  EXPECT_NE(RetrieveSession(std::string(63, 'x')), nullptr);
}

TEST_F(HostileTest, AFilesListOutsideMemoryIsRefused) {
  Freeze();
  session_ser_.file_set.files = 0x2000;
  Put(session_at_, session_ser_);
  EXPECT_EQ(Boot(), absl::OkStatus());
  EXPECT_FALSE(machine_.luo().Deserialize().ok());
}

}  // namespace
}  // namespace luo
