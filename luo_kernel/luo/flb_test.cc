// Files with an FLB: its life, and every failure in the lives of both.
#include <errno.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "luo_kernel/luo/booting_machine.h"
#include "luo_kernel/luo/fake_handler.h"
#include "luo_kernel/luo/live_update_fixture.h"

namespace luo {
namespace {

using ::testing::ElementsAre;
using vmm::StatusErrno;

class FlbTest : public LiveUpdateTest {
 protected:
  FlbTest() { with_flb_ = true; }
};

TEST_F(FlbTest, IsPreservedWithTheFirstFileAndUnpreservedWithTheLast) {
  const BootingMachine::Usage before = machine_.usage();
  std::unique_ptr<Session> a = Create("a");
  std::unique_ptr<Session> b = Create("b");
  EXPECT_EQ(StatusErrno(machine_.luo().GetOutgoingFlb(flb_.get()).status()), ENOENT);
  ASSERT_EQ(a->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  ASSERT_EQ(b->PreserveFd(2, NumberFile(2)), absl::OkStatus());
  EXPECT_TRUE(machine_.luo().GetOutgoingFlb(flb_.get()).ok());
  machine_.luo().PutOutgoingFlb(flb_.get());
  a.reset();
  EXPECT_THAT(faults_.log,
              ElementsAre("preserve flb-v1", "preserve 1", "preserve 2", "unpreserve 1"));
  faults_.log.clear();
  b.reset();
  EXPECT_THAT(faults_.log, ElementsAre("unpreserve 2", "unpreserve flb-v1"));
  EXPECT_EQ(machine_.usage(), before);
}

TEST_F(FlbTest, IsHandedOverWithItsCountAndFinishedWithTheLastFile) {
  std::unique_ptr<Session> a = Create("a");
  std::unique_ptr<Session> b = Create("b");
  for (uint64_t n : {1, 2}) ASSERT_EQ(a->PreserveFd(n, NumberFile(n)), absl::OkStatus());
  ASSERT_EQ(b->PreserveFd(3, NumberFile(3)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  LiveUpdate& luo = machine_.luo();
  absl::StatusOr<std::shared_ptr<void>> object = luo.GetIncomingFlb(flb_.get());
  ASSERT_TRUE(object.ok()) << object.status();
  EXPECT_EQ(*std::static_pointer_cast<uint64_t>(*object), 0xf1bu);
  luo.PutIncomingFlb(flb_.get());
  RetrieveSession("a").reset();
  faults_.log.clear();
  RetrieveSession("b").reset();
  EXPECT_THAT(faults_.log, ElementsAre("finish 0", "finish flb-v1"));
  EXPECT_EQ(StatusErrno(luo.GetIncomingFlb(flb_.get()).status()), ENODATA);
}

TEST_F(FlbTest, ThatNobodyAskedForIsRetrievedToBeFinished) {
  std::unique_ptr<Session> a = Create("a");
  for (uint64_t n : {1, 2}) ASSERT_EQ(a->PreserveFd(n, NumberFile(n)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  faults_.log.clear();
  RetrieveSession("a").reset();
  EXPECT_THAT(faults_.log, ElementsAre("finish 0", "finish 0", "retrieve flb-v1", "finish flb-v1"));
}

TEST_F(FlbTest, AFailedRetrieveIsNotTriedAgain) {
  std::unique_ptr<Session> a = Create("a");
  ASSERT_EQ(a->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  faults_.fail_at = faults_.calls;
  EXPECT_EQ(StatusErrno(machine_.luo().GetIncomingFlb(flb_.get()).status()), EIO);
  EXPECT_EQ(StatusErrno(machine_.luo().GetIncomingFlb(flb_.get()).status()), EIO);
}

TEST_F(FlbTest, ThatDidNotComeIsNotThere) {
  EXPECT_EQ(StatusErrno(machine_.luo().GetIncomingFlb(flb_.get()).status()), ENODATA);
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  EXPECT_EQ(StatusErrno(machine_.luo().GetIncomingFlb(flb_.get()).status()), ENOENT);
}

// Each call that can fail is made to, once: what was there before is there again.
TEST_F(FlbTest, EveryFailureIsUndone) {
  auto second = std::make_shared<FakeFlb>("flb-v2", machine_, &faults_);
  ASSERT_EQ(machine_.luo().RegisterFlb(handler_.get(), second), absl::OkStatus());
  const BootingMachine::Usage before = machine_.usage();
  for (int64_t fail_at = 0;; ++fail_at) {
    SCOPED_TRACE(fail_at);
    faults_ = Faults{.fail_at = fail_at};
    std::unique_ptr<Session> a = Create("a");
    std::unique_ptr<Session> b = Create("b");
    absl::Status status;
    for (uint64_t n : {1, 2}) {
      const BootingMachine::Usage usage = machine_.usage();
      const absl::Status preserved = a->PreserveFd(n, NumberFile(n));
      status.Update(preserved);
      if (!preserved.ok()) {
        EXPECT_EQ(machine_.usage(), usage);
      }
    }
    status.Update(b->PreserveFd(3, NumberFile(3)));
    const absl::Status rebooted = machine_.luo().Reboot();
    status.Update(rebooted);
    if (rebooted.ok()) machine_.luo().CancelReboot();
    a.reset();
    b.reset();
    EXPECT_EQ(machine_.usage(), before);
    // What was preserved was unpreserved, what was frozen unfrozen.
    int balance = 0;
    for (const std::string& line : faults_.log) {
      if (line.ends_with("fails")) continue;
      if (line.starts_with("preserve") || line.starts_with("freeze")) ++balance;
      if (line.starts_with("un")) --balance;
    }
    EXPECT_EQ(balance, 0);
    EXPECT_EQ(status.ok(), faults_.calls <= fail_at);
    if (status.ok()) break;
    ASSERT_LT(fail_at, 100);
  }
}

// The same in the new kernel: whatever fails there, nothing stays behind once all is finished.
TEST_F(FlbTest, EveryFailureOfTheNewKernelLeavesNothing) {
  for (int64_t fail_at = 0;; ++fail_at) {
    SCOPED_TRACE(fail_at);
    ASSERT_LT(fail_at, 100);
    std::unique_ptr<Session> out = Create("a");
    for (uint64_t n : {1, 2, 3}) {
      ASSERT_EQ(out->PreserveFd(n, NumberFile(n)), absl::OkStatus());
    }
    ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
    faults_ = Faults{.fail_at = fail_at};
    std::unique_ptr<Session> in = RetrieveSession("a");
    absl::Status status;
    for (uint64_t n : {3, 1}) {
      const absl::Status retrieved = in->RetrieveFd(n).status();
      EXPECT_EQ(in->RetrieveFd(n).status(), retrieved);
      status.Update(retrieved);
    }
    const absl::Status flb = machine_.luo().GetIncomingFlb(flb_.get()).status();
    if (flb.ok()) machine_.luo().PutIncomingFlb(flb_.get());
    EXPECT_EQ(in->Finish(), absl::OkStatus());
    in.reset();
    // KHO's root, and the page of an FLB that cannot be retrieved, which nobody can free.
    EXPECT_EQ(machine_.usage().unrestored_blocks, flb.ok() ? 1u : 2u);
    EXPECT_TRUE(machine_.luo().sessions().empty());
    if (status.ok() && flb.ok()) break;
  }
}

TEST_F(FlbTest, ManyThreadsMayUseIt) {
  const BootingMachine::Usage before = machine_.usage();
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([this, i] {
      for (int round = 0; round < 20; ++round) {
        std::unique_ptr<Session> session = Create(absl::StrCat("thread ", i));
        for (uint64_t n = 0; n < 3; ++n) {
          EXPECT_EQ(session->PreserveFd(n, NumberFile(n)), absl::OkStatus());
        }
        absl::StatusOr<std::shared_ptr<void>> object = machine_.luo().GetOutgoingFlb(flb_.get());
        EXPECT_TRUE(object.ok());
        machine_.luo().PutOutgoingFlb(flb_.get());
        (void)machine_.luo().sessions();
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(machine_.usage(), before);
}

}  // namespace
}  // namespace luo
