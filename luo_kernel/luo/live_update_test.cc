#include "luo_kernel/luo/live_update.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/luo/booting_machine.h"
#include "luo_kernel/luo/fake_handler.h"
#include "luo_kernel/luo/live_update_fixture.h"

namespace luo {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using vmm::StatusErrno;
using vmm::UniqueFd;

TEST_F(LiveUpdateTest, WritesTheRootWhereTheNextKernelLooks) {
  const abi::LuoSer root = Root();
  EXPECT_STREQ(root.compatible, "luo-v5");
  EXPECT_EQ(root.liveupdate_num, 1u);
  EXPECT_EQ(root.sessions_pa, 0u);
  const auto flbs =
      ReadStruct<abi::LuoFlbHeaderSer>(machine_.memory(), PhysicalAddress(root.flbs_pa));
  ASSERT_TRUE(flbs.ok());
  EXPECT_EQ(flbs->pgcnt, 1u);
  EXPECT_EQ(flbs->count, 0u);
}

TEST_F(LiveUpdateTest, FilesOutliveTheKernel) {
  std::unique_ptr<Session> session = Create("web1");
  ASSERT_EQ(session->PreserveFd(7, NumberFile(1234)), absl::OkStatus());
  ASSERT_EQ(session->PreserveFd(0, NumberFile(99)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  EXPECT_EQ(machine_.luo().number(), 1u);

  std::unique_ptr<Session> again = RetrieveSession("web1");
  EXPECT_TRUE(again->incoming());
  absl::StatusOr<UniqueFd> second = again->RetrieveFd(0);
  absl::StatusOr<UniqueFd> first = again->RetrieveFd(7);
  ASSERT_TRUE(first.ok()) << first.status();
  ASSERT_TRUE(second.ok()) << second.status();
  EXPECT_EQ(NumberIn(first->get()), 1234u);
  EXPECT_EQ(NumberIn(second->get()), 99u);
  EXPECT_EQ(fcntl(first->get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(again->Finish(), absl::OkStatus());
}

TEST_F(LiveUpdateTest, NothingIsLeftTakenAfterFinish) {
  const BootingMachine::Usage before = machine_.usage();
  std::unique_ptr<Session> session = Create("web1");
  for (uint64_t token = 0; token < 200; ++token) {
    ASSERT_EQ(session->PreserveFd(token, NumberFile(token)), absl::OkStatus());
  }
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  std::unique_ptr<Session> again = RetrieveSession("web1");
  ASSERT_TRUE(again->RetrieveFd(3).ok());
  ASSERT_EQ(again->Finish(), absl::OkStatus());
  again.reset();
  BootingMachine::Usage after = machine_.usage();
  // The old root page, which KHO's own part of a kernel would take back.
  after.unrestored_blocks = 0;
  EXPECT_LE(after.taken_pages, before.taken_pages + 1);
  EXPECT_EQ(after.preserved_pages, before.preserved_pages);
}

TEST_F(LiveUpdateTest, CountsLiveUpdates) {
  for (uint64_t number = 1; number < 4; ++number) {
    ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
    EXPECT_EQ(machine_.luo().number(), number);
    EXPECT_EQ(Root().liveupdate_num, number + 1);
  }
}

TEST_F(LiveUpdateTest, ManySessionsAndFilesFillManyBlocks) {
  std::vector<std::unique_ptr<Session>> sessions;
  for (int i = 0; i < 120; ++i) {
    sessions.push_back(Create(absl::StrCat("s", i)));
    for (int j = 0; j < i % 3; ++j) {
      ASSERT_EQ(sessions[i]->PreserveFd(j, NumberFile(i * 10 + j)), absl::OkStatus());
    }
  }
  for (int token = 100; token < 300; ++token) {
    ASSERT_EQ(sessions[5]->PreserveFd(token, NumberFile(token)), absl::OkStatus());
  }
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  EXPECT_EQ(machine_.luo().Deserialize(), absl::OkStatus());
  EXPECT_EQ(machine_.luo().sessions().size(), 120u);
  std::unique_ptr<Session> session = RetrieveSession("s5");
  EXPECT_EQ(NumberIn(session->RetrieveFd(299)->get()), 299u);
  EXPECT_EQ(NumberIn(session->RetrieveFd(1)->get()), 51u);
}

// --- Sessions: names, directions, the end of them. ---

TEST_F(LiveUpdateTest, RefusesNamesThatLinuxRefuses) {
  EXPECT_EQ(CreateErrno(""), EINVAL);
  EXPECT_EQ(CreateErrno(std::string(64, 'a')), EINVAL);
  EXPECT_EQ(CreateErrno(absl::string_view("a\0b", 3)), EINVAL);
  EXPECT_TRUE(machine_.luo().CreateSession(std::string(63, 'a')).ok());
}

TEST_F(LiveUpdateTest, RefusesANameTwiceUntilTheFirstIsClosed) {
  std::unique_ptr<Session> session = Create("web1");
  EXPECT_EQ(CreateErrno("web1"), EEXIST);
  session.reset();
  EXPECT_EQ(CreateErrno("web1"), 0);
}

TEST_F(LiveUpdateTest, ARefusedNameLeavesNoEmptyBlock) {
  // A block holds 51 sessions.
  std::vector<std::unique_ptr<Session>> sessions;
  for (int i = 0; i < 51; ++i) sessions.push_back(Create(absl::StrCat("s", i)));
  EXPECT_EQ(CreateErrno("s0"), EEXIST);
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  EXPECT_EQ(machine_.luo().Deserialize(), absl::OkStatus());
  EXPECT_EQ(machine_.luo().sessions().size(), 51u);
}

TEST_F(LiveUpdateTest, ASessionIsRetrievedOnce) {
  std::unique_ptr<Session> session = Create("web1");
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  EXPECT_EQ(machine_.luo().Deserialize(), absl::OkStatus());
  EXPECT_EQ(RetrieveErrno("web2"), ENOENT);
  std::unique_ptr<Session> again = RetrieveSession("web1");
  EXPECT_EQ(RetrieveErrno("web1"), EINVAL);
  again.reset();
  EXPECT_EQ(RetrieveErrno("web1"), ENOENT);
}

TEST_F(LiveUpdateTest, NobodyRetrievesASessionOfThisKernel) {
  std::unique_ptr<Session> session = Create("web1");
  EXPECT_EQ(machine_.luo().Deserialize(), absl::OkStatus());
  EXPECT_EQ(RetrieveErrno("web1"), ENOENT);
}

TEST_F(LiveUpdateTest, TheSameNameMayComeInAndGoOut) {
  std::unique_ptr<Session> session = Create("web1");
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  std::unique_ptr<Session> in = RetrieveSession("web1");
  std::unique_ptr<Session> out = Create("web1");
  ASSERT_EQ(out->PreserveFd(1, NumberFile(5)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  EXPECT_EQ(NumberIn(RetrieveSession("web1")->RetrieveFd(1)->get()), 5u);
}

TEST_F(LiveUpdateTest, EachDirectionHasItsOwnCalls) {
  std::unique_ptr<Session> session = Create("web1");
  EXPECT_EQ(StatusErrno(session->RetrieveFd(1).status()), EINVAL);
  EXPECT_EQ(StatusErrno(session->Finish()), EINVAL);
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  std::unique_ptr<Session> again = RetrieveSession("web1");
  EXPECT_EQ(StatusErrno(again->PreserveFd(1, NumberFile(1))), EINVAL);
}

TEST_F(LiveUpdateTest, ClosingAnOutgoingSessionUnpreservesInReverse) {
  const BootingMachine::Usage before = machine_.usage();
  std::unique_ptr<Session> session = Create("web1");
  for (uint64_t n : {1, 2, 3}) ASSERT_EQ(session->PreserveFd(n, NumberFile(n)), absl::OkStatus());
  faults_.log.clear();
  session.reset();
  EXPECT_THAT(faults_.log, ElementsAre("unpreserve 3", "unpreserve 2", "unpreserve 1"));
  EXPECT_EQ(machine_.usage(), before);
}

TEST_F(LiveUpdateTest, ClosingARetrievedSessionFinishesInReverse) {
  std::unique_ptr<Session> session = Create("web1");
  for (uint64_t n : {1, 2, 3}) ASSERT_EQ(session->PreserveFd(n, NumberFile(n)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  std::unique_ptr<Session> again = RetrieveSession("web1");
  ASSERT_TRUE(again->RetrieveFd(2).ok());
  faults_.log.clear();
  again.reset();
  EXPECT_THAT(faults_.log, ElementsAre("finish 0", "finish 1", "finish 0"));
}

TEST_F(LiveUpdateTest, ASessionNobodyRetrievesStaysUntilItIs) {
  std::unique_ptr<Session> session = Create("web1");
  ASSERT_EQ(session->PreserveFd(1, NumberFile(5)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  ASSERT_EQ(machine_.luo().OpenDevice(), absl::OkStatus());
  machine_.luo().CloseDevice();
  EXPECT_EQ(NumberIn(RetrieveSession("web1")->RetrieveFd(1)->get()), 5u);
}

TEST_F(LiveUpdateTest, ASessionThatIsPutBackCanBeRetrievedAgain) {
  std::unique_ptr<Session> session = Create("web1");
  ASSERT_EQ(session->PreserveFd(1, NumberFile(5)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  std::unique_ptr<Session> again = RetrieveSession("web1");
  std::shared_ptr<std::atomic<bool>> kept = again->PutBackUnlessKept();
  again.reset();
  again = RetrieveSession("web1");
  EXPECT_EQ(NumberIn(again->RetrieveFd(1)->get()), 5u);
}

// --- Files: tokens, kinds, which file it is. ---

TEST_F(LiveUpdateTest, RefusesATokenTwiceInASession) {
  std::unique_ptr<Session> a = Create("a");
  std::unique_ptr<Session> b = Create("b");
  EXPECT_EQ(a->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  EXPECT_EQ(StatusErrno(a->PreserveFd(1, NumberFile(2))), EEXIST);
  EXPECT_EQ(b->PreserveFd(1, NumberFile(3)), absl::OkStatus());
}

TEST_F(LiveUpdateTest, RefusesAFileTwiceInAnySession) {
  UniqueFd file = NumberFile(1);
  std::unique_ptr<Session> a = Create("a");
  std::unique_ptr<Session> b = Create("b");
  ASSERT_EQ(a->PreserveFd(1, UniqueFd(dup(file.get()))), absl::OkStatus());
  const BootingMachine::Usage before = machine_.usage();
  EXPECT_EQ(StatusErrno(a->PreserveFd(2, UniqueFd(dup(file.get())))), EBUSY);
  EXPECT_EQ(StatusErrno(b->PreserveFd(2, UniqueFd(dup(file.get())))), EBUSY);
  EXPECT_EQ(machine_.usage(), before);
  a.reset();
  EXPECT_EQ(b->PreserveFd(2, UniqueFd(dup(file.get()))), absl::OkStatus());
}

TEST_F(LiveUpdateTest, WithoutAnIdTheOpenFileCounts) {
  handler_->by_inode = false;
  UniqueFd file = NumberFile(1);
  std::unique_ptr<Session> session = Create("a");
  ASSERT_EQ(session->PreserveFd(1, UniqueFd(dup(file.get()))), absl::OkStatus());
  if (StatusErrno(session->PreserveFd(2, UniqueFd(dup(file.get())))) != EBUSY) {
    GTEST_SKIP() << "no kcmp(2) here";
  }
  const std::string again = absl::StrCat("/proc/self/fd/", file.get());
  EXPECT_EQ(session->PreserveFd(3, UniqueFd(open(again.c_str(), O_RDWR))), absl::OkStatus());
}

TEST_F(LiveUpdateTest, ARetrievedFileIsBusyUntilItsSessionIsFinished) {
  std::unique_ptr<Session> session = Create("a");
  ASSERT_EQ(session->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  std::unique_ptr<Session> in = RetrieveSession("a");
  absl::StatusOr<UniqueFd> file = in->RetrieveFd(1);
  ASSERT_TRUE(file.ok());
  std::unique_ptr<Session> out = Create("a");
  EXPECT_EQ(StatusErrno(out->PreserveFd(1, UniqueFd(dup(file->get())))), EBUSY);
  ASSERT_EQ(in->Finish(), absl::OkStatus());
  EXPECT_EQ(out->PreserveFd(1, UniqueFd(dup(file->get()))), absl::OkStatus());
}

TEST_F(LiveUpdateTest, RefusesAFileNoHandlerKnows) {
  std::unique_ptr<Session> session = Create("a");
  EXPECT_EQ(StatusErrno(session->PreserveFd(1, UniqueFd(eventfd(0, EFD_CLOEXEC)))), ENOENT);
  EXPECT_EQ(StatusErrno(session->PreserveFd(1, UniqueFd())), EBADF);
}

TEST_F(LiveUpdateTest, AsksForTheFileAfterTheToken) {
  std::unique_ptr<Session> session = Create("a");
  ASSERT_EQ(session->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  bool asked = false;
  const auto take = [&asked]() -> absl::StatusOr<UniqueFd> {
    asked = true;
    return vmm::ErrnoStatus(EMFILE, "take");
  };
  EXPECT_EQ(StatusErrno(session->PreserveFd(1, take)), EEXIST);
  EXPECT_FALSE(asked);
  EXPECT_EQ(StatusErrno(session->PreserveFd(2, take)), EMFILE);
}

TEST_F(LiveUpdateTest, TheFirstHandlerThatKnowsTheFileHasIt) {
  auto picky = std::make_shared<FakeHandler>("picky-v1", machine_, &faults_);
  picky->knows = [](int) { return true; };
  ASSERT_EQ(machine_.luo().RegisterFileHandler(picky), absl::OkStatus());
  std::unique_ptr<Session> session = Create("a");
  ASSERT_EQ(session->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  EXPECT_EQ(StatusErrno(machine_.luo().UnregisterFileHandler(handler_.get())), EBUSY);
  EXPECT_EQ(machine_.luo().UnregisterFileHandler(picky.get()), absl::OkStatus());
}

TEST_F(LiveUpdateTest, RetrievesTheSameOpenFileEachTime) {
  std::unique_ptr<Session> session = Create("a");
  ASSERT_EQ(session->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  std::unique_ptr<Session> again = RetrieveSession("a");
  absl::StatusOr<UniqueFd> one = again->RetrieveFd(1);
  absl::StatusOr<UniqueFd> two = again->RetrieveFd(1);
  ASSERT_TRUE(one.ok() && two.ok());
  ASSERT_EQ(lseek(one->get(), 3, SEEK_SET), 3);
  EXPECT_EQ(lseek(two->get(), 0, SEEK_CUR), 3);
  EXPECT_EQ(StatusErrno(again->RetrieveFd(2).status()), ENOENT);
  ASSERT_EQ(again->Finish(), absl::OkStatus());
  EXPECT_EQ(StatusErrno(again->RetrieveFd(1).status()), ENOENT);
  EXPECT_EQ(again->Finish(), absl::OkStatus());
}

TEST_F(LiveUpdateTest, AFailedRetrieveIsNotTriedAgain) {
  std::unique_ptr<Session> session = Create("a");
  ASSERT_EQ(session->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  std::unique_ptr<Session> again = RetrieveSession("a");
  faults_.fail_at = faults_.calls;
  faults_.error = ENOMEM;
  EXPECT_EQ(StatusErrno(again->RetrieveFd(1).status()), ENOMEM);
  EXPECT_EQ(StatusErrno(again->RetrieveFd(1).status()), ENOMEM);
  faults_.log.clear();
  EXPECT_EQ(again->Finish(), absl::OkStatus());
  EXPECT_THAT(faults_.log, ElementsAre(absl::StrCat("finish -", ENOMEM)));
}

TEST_F(LiveUpdateTest, FinishIsAllOrNothing) {
  std::unique_ptr<Session> session = Create("a");
  ASSERT_EQ(session->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  ASSERT_EQ(session->PreserveFd(2, NumberFile(2)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  std::unique_ptr<Session> again = RetrieveSession("a");
  handler_->can_finish = false;
  faults_.log.clear();
  EXPECT_EQ(StatusErrno(again->Finish()), EBUSY);
  EXPECT_TRUE(faults_.log.empty());
  handler_->can_finish = true;
  EXPECT_EQ(again->Finish(), absl::OkStatus());
}

TEST_F(LiveUpdateTest, ASessionThatCannotFinishAtItsCloseIsNobodysForGood) {
  std::unique_ptr<Session> session = Create("a");
  ASSERT_EQ(session->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  handler_->can_finish = false;
  RetrieveSession("a").reset();
  EXPECT_EQ(RetrieveErrno("a"), EINVAL);
}

// --- Limits of memory. ---

TEST_F(LiveUpdateTest, NoMemoryIsAnErrorThatChangesNothing) {
  std::unique_ptr<Session> session = Create("a");
  std::vector<PhysicalAddress> hoard;
  for (;;) {
    const absl::StatusOr<PhysicalAddress> page = machine_.arena().Allocate(0);
    if (!page.ok()) break;
    hoard.push_back(*page);
  }
  const BootingMachine::Usage before = machine_.usage();
  EXPECT_EQ(StatusErrno(session->PreserveFd(1, NumberFile(1))), ENOMEM);
  EXPECT_EQ(machine_.usage(), before);
  EXPECT_EQ(machine_.luo().sessions()[0].files, 0u);
  ASSERT_EQ(machine_.arena().Free(hoard.back(), 0), absl::OkStatus());
  // Room for the list, none for the file.
  EXPECT_FALSE(session->PreserveFd(1, NumberFile(1)).ok());
  EXPECT_EQ(machine_.luo().sessions()[0].files, 0u);
}

// --- /dev/liveupdate. ---

TEST_F(LiveUpdateTest, TheDeviceIsOpenOnce) {
  ASSERT_EQ(machine_.luo().OpenDevice(), absl::OkStatus());
  EXPECT_EQ(StatusErrno(machine_.luo().OpenDevice()), EBUSY);
  machine_.luo().CloseDevice();
  EXPECT_EQ(machine_.luo().OpenDevice(), absl::OkStatus());
}

TEST_F(LiveUpdateTest, WithoutAHandlerTheDeviceFailsForGood) {
  std::unique_ptr<Session> session = Create("a");
  ASSERT_EQ(session->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  machine_.on_boot = [](BootingMachine&) {};
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  EXPECT_EQ(StatusErrno(machine_.luo().OpenDevice()), EIO);
  EXPECT_EQ(StatusErrno(machine_.luo().Deserialize()), ENOENT);
  ASSERT_EQ(machine_.luo().RegisterFileHandler(
                std::make_shared<FakeHandler>("fake-v1", machine_, &faults_)),
            absl::OkStatus());
  EXPECT_EQ(StatusErrno(machine_.luo().OpenDevice()), EIO);
}

// --- Freezing and its undoing. ---

TEST_F(LiveUpdateTest, AFailedFreezeIsUndoneInReverse) {
  std::unique_ptr<Session> a = Create("a");
  std::unique_ptr<Session> b = Create("b");
  for (uint64_t n : {1, 2}) ASSERT_EQ(a->PreserveFd(n, NumberFile(n)), absl::OkStatus());
  for (uint64_t n : {3, 4, 5}) ASSERT_EQ(b->PreserveFd(n, NumberFile(n)), absl::OkStatus());
  faults_.log.clear();
  faults_.fail_at = faults_.calls + 4;
  faults_.error = EBUSY;
  const absl::Status status = machine_.Kexec();
  EXPECT_EQ(StatusErrno(status), EBUSY);
  EXPECT_THAT(status.message(), HasSubstr("session 'b': freeze token 0x5"));
  EXPECT_THAT(faults_.log,
              ElementsAre("freeze 1", "freeze 2", "freeze 3", "freeze 4", "freeze 5 fails",
                          "unfreeze 4", "unfreeze 3", "unfreeze 2", "unfreeze 1"));
  EXPECT_EQ(Root().sessions_pa, 0u);
  EXPECT_FALSE(machine_.luo().rebooting());
  // All goes on.
  ASSERT_EQ(b->PreserveFd(6, NumberFile(6)), absl::OkStatus());
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  EXPECT_EQ(NumberIn(RetrieveSession("b")->RetrieveFd(6)->get()), 6u);
}

TEST_F(LiveUpdateTest, AfterTheFreezeNothingMoves) {
  std::unique_ptr<Session> session = Create("a");
  ASSERT_EQ(session->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  ASSERT_EQ(machine_.luo().Reboot(), absl::OkStatus());
  EXPECT_EQ(CreateErrno("b"), ESHUTDOWN);
  EXPECT_EQ(RetrieveErrno("b"), ESHUTDOWN);
  EXPECT_EQ(StatusErrno(session->PreserveFd(2, NumberFile(2))), ESHUTDOWN);
  EXPECT_EQ(StatusErrno(machine_.luo().Reboot()), ESHUTDOWN);
  faults_.log.clear();
  session.reset();
  EXPECT_TRUE(faults_.log.empty());
}

TEST_F(LiveUpdateTest, ARebootCanBeCancelled) {
  const BootingMachine::Usage before = machine_.usage();
  std::unique_ptr<Session> closed = Create("closed");
  std::unique_ptr<Session> open = Create("open");
  ASSERT_EQ(closed->PreserveFd(1, NumberFile(1)), absl::OkStatus());
  ASSERT_EQ(open->PreserveFd(2, NumberFile(2)), absl::OkStatus());
  ASSERT_EQ(machine_.luo().Reboot(), absl::OkStatus());
  closed.reset();
  faults_.log.clear();
  machine_.luo().CancelReboot();
  EXPECT_THAT(faults_.log, ElementsAre("unfreeze 2", "unfreeze 1", "unpreserve 1"));
  EXPECT_EQ(Root().sessions_pa, 0u);
  EXPECT_EQ(open->PreserveFd(3, NumberFile(3)), absl::OkStatus());
  open.reset();
  EXPECT_EQ(machine_.usage(), before);
}

// --- Handlers and FLBs. ---

TEST_F(LiveUpdateTest, RefusesHandlersWithBadStrings) {
  const auto make = [this](const std::string& name) {
    return StatusErrno(machine_.luo().RegisterFileHandler(
        std::make_shared<FakeHandler>(name, machine_, &faults_)));
  };
  EXPECT_EQ(make(""), EINVAL);
  EXPECT_EQ(make(std::string(48, 'a')), EINVAL);
  EXPECT_EQ(make("fake-v1"), EEXIST);
  EXPECT_EQ(make(std::string(47, 'a')), 0);
}

TEST_F(LiveUpdateTest, RefusesFlbsThatLinuxRefuses) {
  LiveUpdate& luo = machine_.luo();
  FakeHandler stranger("stranger", machine_, &faults_);
  const auto flb = std::make_shared<FakeFlb>("flb", machine_, &faults_);
  EXPECT_EQ(StatusErrno(luo.RegisterFlb(&stranger, flb)), EINVAL);
  EXPECT_EQ(luo.RegisterFlb(handler_.get(), flb), absl::OkStatus());
  EXPECT_EQ(StatusErrno(luo.RegisterFlb(handler_.get(), flb)), EEXIST);
  EXPECT_EQ(StatusErrno(luo.RegisterFlb(handler_.get(),
                                        std::make_shared<FakeFlb>("flb", machine_, &faults_))),
            EEXIST);
  for (int i = 1; i < 63; ++i) {
    EXPECT_EQ(luo.RegisterFlb(handler_.get(), std::make_shared<FakeFlb>(absl::StrCat("flb", i),
                                                                        machine_, &faults_)),
              absl::OkStatus());
  }
  EXPECT_EQ(StatusErrno(luo.RegisterFlb(handler_.get(),
                                        std::make_shared<FakeFlb>("one", machine_, &faults_))),
            ENOSPC);
  EXPECT_EQ(luo.UnregisterFlb(handler_.get(), flb.get()), absl::OkStatus());
  EXPECT_EQ(StatusErrno(luo.UnregisterFlb(handler_.get(), flb.get())), ENOENT);
  EXPECT_EQ(luo.UnregisterFileHandler(handler_.get()), absl::OkStatus());
  EXPECT_EQ(StatusErrno(luo.UnregisterFileHandler(handler_.get())), ENOENT);
}

}  // namespace
}  // namespace luo
