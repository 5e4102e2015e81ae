#include "tools/luod/update.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>

#include <deque>
#include <list>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/luod/fake_sessions.h"
#include "tools/luod/fakes.h"
#include "vmm/live_update/tokens.h"

namespace vmm {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// A VM that records what it is sent, keeps its session as a real one does, and answers when told
// to.
class FakePeer : public VmPeer {
 public:
  explicit FakePeer(std::string name)
      : registration_{.name = std::move(name),
                      .vcpus = 2,
                      .memory_bytes = 4096,
                      .resume_argv = {"/usr/bin/vmm", "resume"}} {}

  const RegisterRequest& registration() const override { return registration_; }
  absl::Status Send(const Message& message) override {
    if (!send_status.ok()) return send_status;
    sent.push_back(message.type);
    last_request = message.request;
    if (message.type == MessageType::kPrepare) {
      session.Reset(fcntl(message.fds.at(0).get(), F_DUPFD_CLOEXEC, 0));
    }
    if (message.type == MessageType::kCancel) session.Reset();
    return absl::OkStatus();
  }

  // The answer to the last request.
  Message Answer() const {
    switch (sent.back()) {
      case MessageType::kPing:
        return PingReply{.missing_bytes = missing_bytes}.ToMessage(last_request);
      case MessageType::kPrepare:
        return PrepareReply{.duration_ns = 11, .preserved_bytes = 4096}.ToMessage(last_request);
      case MessageType::kFreeze:
        return FreezeReply{.pause_tsc = 21, .duration_ns = 22, .state_bytes = 23}.ToMessage(
            last_request);
      default:
        return OkMessage(last_request);
    }
  }

  absl::Status send_status;
  uint64_t missing_bytes = 0;
  std::vector<MessageType> sent;
  uint32_t last_request = 0;
  UniqueFd session;

 private:
  RegisterRequest registration_;
};

class UpdateTest : public testing::Test {
 protected:
  // Begins an update of VMs with these names.
  void Begin(const std::vector<std::string>& names, bool check_only = false,
             bool rehearse = false) {
    std::vector<VmPeer*> peers;
    for (const std::string& name : names) {
      vms_.emplace_back(name);
      peers.push_back(&vms_.back());
    }
    update_ = std::make_unique<Update>(
        Update::Environment{
            .sessions = &sessions_,
            .kexec = &kexec_,
            .host = &host_,
            .clock = &clock_,
            .progress = [this](const Progress& step) { phases_.push_back(step.phase); },
            .generation = 7,
            .old_kernel = "7.3.4"},
        UpgradeRequest{.command_line = "quiet", .check_only = check_only, .rehearse = rehearse},
        std::chrono::milliseconds(1000), UniqueFd(memfd_create("kernel", MFD_CLOEXEC)), UniqueFd(),
        peers);
    update_->Start();
  }

  FakePeer& Vm(size_t index) { return *std::next(vms_.begin(), index); }
  void Answer(size_t index) { update_->OnAnswer(&Vm(index), Vm(index).Answer()); }
  void Refuse(size_t index, const std::string& text) {
    update_->OnAnswer(&Vm(index), ErrorMessage(Vm(index).last_request, absl::InternalError(text)));
  }
  // Nobody else has anything to say.
  void AnswerAll() {
    for (size_t i = 0; i < vms_.size(); ++i) Answer(i);
    GoOn();
  }
  void GoOn() {
    if (update_->ready()) update_->GoOn();
  }
  std::string ResultText() const { return std::string(update_->result().message()); }

  // What must hold after any failure: as if nothing had been.
  void ExpectUndone() {
    EXPECT_TRUE(update_->done());
    EXPECT_FALSE(update_->result().ok());
    EXPECT_FALSE(kexec_.loaded);
    EXPECT_FALSE(sessions_.OutgoingOpen(kManifestSession));
    for (FakePeer& vm : vms_) {
      bool prepared = testing::Value(vm.sent, testing::Contains(MessageType::kPrepare));
      if (prepared && vm.send_status.ok()) {
        EXPECT_EQ(vm.sent.back(), MessageType::kCancel) << vm.registration().name;
        EXPECT_FALSE(sessions_.OutgoingOpen(VmSessionName(vm.registration().name)));
      }
    }
  }

  FakeSessions sessions_;
  FakeKexec kexec_;
  FakeClock clock_;
  FakeHost host_;
  std::vector<std::string> phases_;
  std::list<FakePeer> vms_;
  std::unique_ptr<Update> update_;
};

TEST_F(UpdateTest, GoesThroughAllPhasesToTheKexec) {
  Manifest handed_over;
  kexec_.on_execute = [&] {
    EXPECT_EQ(host_.syncs, 1);
    sessions_.Kexec();
    auto session = sessions_.Retrieve(kManifestSession);
    ASSERT_TRUE(session.ok());
    handed_over = *ReadManifest(sessions_.RetrieveFile(*session, kManifestToken)->get());
    EXPECT_TRUE(sessions_.Retrieve("vm-a").ok());
    EXPECT_TRUE(sessions_.Retrieve("vm-b").ok());
  };
  Begin({"a", "b"});
  EXPECT_TRUE(kexec_.loaded);
  EXPECT_EQ(kexec_.last_command_line, "quiet");
  EXPECT_EQ(update_->phase_name(), "check");
  AnswerAll();
  EXPECT_EQ(update_->phase_name(), "prepare");
  EXPECT_TRUE(Vm(0).session.valid());
  Answer(1);
  EXPECT_EQ(update_->phase_name(), "prepare");
  Answer(0);
  EXPECT_TRUE(update_->ready());
  EXPECT_EQ(update_->phase_name(), "prepare");
  update_->GoOn();
  EXPECT_EQ(update_->phase_name(), "freeze");
  Answer(0);
  EXPECT_FALSE(update_->ready());
  Answer(1);
  EXPECT_TRUE(update_->ready());
  EXPECT_THAT(kexec_.calls, ElementsAre("load"));
  update_->GoOn();
  EXPECT_THAT(kexec_.calls, ElementsAre("load", "execute", "unload"));
  EXPECT_EQ(handed_over.generation, 7u);
  EXPECT_EQ(handed_over.old_kernel, "7.3.4");
  ASSERT_EQ(handed_over.vms.size(), 2u);
  EXPECT_EQ(handed_over.vms[1].name, "b");
  EXPECT_EQ(handed_over.vms[1].session, "vm-b");
  EXPECT_EQ(handed_over.vms[1].prepare_ns, 11u);
  EXPECT_EQ(handed_over.vms[1].pause_tsc, 21u);
  EXPECT_EQ(handed_over.vms[1].state_bytes, 23u);
  EXPECT_GT(handed_over.kexec_tsc, handed_over.freeze_tsc);
  EXPECT_GT(handed_over.freeze_tsc, handed_over.prepare_tsc);
}

TEST_F(UpdateTest, AKexecThatReturnsCancels) {
  kexec_.execute_status = absl::InternalError("the kernel refuses");
  Begin({"a", "b"});
  AnswerAll();
  AnswerAll();
  AnswerAll();
  EXPECT_FALSE(update_->done());  // the VMs' answers to CANCEL are due
  AnswerAll();
  ExpectUndone();
  EXPECT_THAT(ResultText(), HasSubstr("kexec: the kernel refuses"));
}

TEST_F(UpdateTest, WithoutVmsItIsAPlainKexec) {
  // No guest depends on what the next kernel is told.
  host_.command_line_status = absl::FailedPreconditionError("no liveupdate=on");
  Begin({});
  GoOn();
  EXPECT_THAT(kexec_.calls, ElementsAre("load"));
  GoOn();
  EXPECT_THAT(kexec_.calls, ElementsAre("load", "execute", "unload"));
  ExpectUndone();
}

TEST_F(UpdateTest, CheckOnlyTouchesNothing) {
  Begin({"a"}, /*check_only=*/true);
  AnswerAll();
  EXPECT_TRUE(update_->done());
  EXPECT_TRUE(update_->result().ok());
  EXPECT_FALSE(kexec_.loaded);
  EXPECT_THAT(Vm(0).sent, ElementsAre(MessageType::kPing));
  EXPECT_FALSE(sessions_.OutgoingOpen("vm-a"));
}

TEST_F(UpdateTest, ARehearsalPreservesAndIsUndoneWithoutAPause) {
  Begin({"a", "b"}, /*check_only=*/false, /*rehearse=*/true);
  AnswerAll();
  AnswerAll();
  EXPECT_EQ(update_->phase_name(), "cancel");
  AnswerAll();
  EXPECT_TRUE(update_->done());
  EXPECT_TRUE(update_->result().ok()) << update_->result();
  EXPECT_THAT(Vm(0).sent,
              ElementsAre(MessageType::kPing, MessageType::kPrepare, MessageType::kCancel));
  EXPECT_FALSE(sessions_.OutgoingOpen("vm-a"));
  EXPECT_FALSE(sessions_.OutgoingOpen(kManifestSession));
  EXPECT_FALSE(kexec_.loaded);
}

TEST_F(UpdateTest, ARehearsalThatAVmDoesNotUndoFails) {
  Begin({"a", "b"}, /*check_only=*/false, /*rehearse=*/true);
  AnswerAll();
  AnswerAll();
  Answer(0);
  clock_.Advance(std::chrono::milliseconds(1000));
  update_->OnTick();
  EXPECT_TRUE(update_->done());
  EXPECT_EQ(update_->result().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(ResultText(), HasSubstr("cancel: VM b did not answer"));
}

TEST_F(UpdateTest, AnIncompatibleKernelIsNotEvenLoaded) {
  host_.kernel_status = absl::FailedPreconditionError("the new kernel speaks luo-v6");
  Begin({"a"});
  ExpectUndone();
  EXPECT_THAT(kexec_.calls, ElementsAre("unload"));
  EXPECT_TRUE(Vm(0).sent.empty());
  EXPECT_THAT(ResultText(), HasSubstr("check: the new kernel speaks luo-v6"));
}

TEST_F(UpdateTest, ACommandLineThatWouldDropTheGuestsEndsIt) {
  host_.command_line_status = absl::FailedPreconditionError("no liveupdate=on");
  Begin({"a"}, /*check_only=*/true);
  ExpectUndone();
  EXPECT_THAT(kexec_.calls, ElementsAre("unload"));
  EXPECT_THAT(ResultText(), HasSubstr("check: no liveupdate=on"));
}

TEST_F(UpdateTest, AVmThatNoProgramCouldResumeEndsItByName) {
  host_.lost_program = "/usr/bin/vmm";
  Begin({"a"}, /*check_only=*/true);
  ExpectUndone();
  EXPECT_TRUE(Vm(0).sent.empty());
  EXPECT_THAT(ResultText(), HasSubstr("check: VM a: no such program"));
}

TEST_F(UpdateTest, GuestsThatTheHostHasNoRoomForEndIt) {
  for (bool check_only : {true, false}) {
    vms_.clear();
    Begin({"a", "b"}, check_only);
    Vm(0).missing_bytes = 700 << 20;
    Vm(1).missing_bytes = 400 << 20;
    AnswerAll();
    ExpectUndone();
    EXPECT_THAT(Vm(0).sent, ElementsAre(MessageType::kPing));
    EXPECT_THAT(ResultText(), HasSubstr("check: guests have 1100 MiB"));
    EXPECT_THAT(ResultText(), HasSubstr("the host has 1024 MiB left"));
  }
}

TEST_F(UpdateTest, WhatTheHostHasLeftMustBeKnownOnlyWhereItMatters) {
  host_.available_memory = absl::UnavailableError("nobody knows");
  Begin({"a"}, /*check_only=*/true);
  AnswerAll();
  EXPECT_TRUE(update_->result().ok()) << update_->result();
  vms_.clear();
  Begin({"a"});
  Vm(0).missing_bytes = 1;
  AnswerAll();
  ExpectUndone();
  EXPECT_THAT(ResultText(), HasSubstr("check: nobody knows"));
}

TEST_F(UpdateTest, FileSystemsThatAreNotWrittenBackEndIt) {
  host_.sync_status = absl::DeadlineExceededError("a server does not answer");
  Begin({"a"});
  AnswerAll();
  AnswerAll();
  AnswerAll();
  ExpectUndone();
  EXPECT_THAT(Vm(0).sent, testing::Not(testing::Contains(MessageType::kFreeze)));
  EXPECT_THAT(ResultText(), HasSubstr("prepare: a server does not answer"));
}

TEST_F(UpdateTest, AKernelThatDoesNotLoadEndsIt) {
  kexec_.load_status = absl::InvalidArgumentError("not a kernel");
  Begin({"a"});
  ExpectUndone();
  EXPECT_TRUE(Vm(0).sent.empty());
  EXPECT_THAT(ResultText(), HasSubstr("check: not a kernel"));
}

TEST_F(UpdateTest, ASilentVmFailsTheCheckByName) {
  Begin({"a", "b"});
  Answer(0);
  clock_.Advance(std::chrono::milliseconds(999));
  update_->OnTick();
  EXPECT_FALSE(update_->done());
  clock_.Advance(std::chrono::milliseconds(1));
  update_->OnTick();
  ExpectUndone();
  EXPECT_EQ(update_->result().code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_THAT(ResultText(), HasSubstr("check: VM b did not answer"));
}

TEST_F(UpdateTest, APrepareErrorCancelsEverybody) {
  Begin({"a", "b"});
  AnswerAll();
  Answer(0);
  Refuse(1, "no memory to preserve");
  AnswerAll();
  ExpectUndone();
  EXPECT_THAT(ResultText(), HasSubstr("prepare: VM b: no memory to preserve"));
  EXPECT_EQ(host_.syncs, 0);
}

TEST_F(UpdateTest, APrepareTimeoutCancelsEverybodyAndWaitsNoLongerForTheSilentOne) {
  Begin({"a", "b"});
  AnswerAll();
  Answer(1);
  clock_.Advance(std::chrono::milliseconds(1000));
  update_->OnTick();
  Answer(1);
  EXPECT_FALSE(update_->done());
  clock_.Advance(std::chrono::milliseconds(1000));
  update_->OnTick();
  ExpectUndone();
  EXPECT_THAT(ResultText(), HasSubstr("prepare: VM a did not answer within 1000 ms"));
  EXPECT_THAT(ResultText(), HasSubstr("; cancel: VM a did not answer"));
  Answer(0);  // much too late: nothing happens
  EXPECT_TRUE(update_->done());
}

TEST_F(UpdateTest, AnswersToEarlierRequestsAreIgnored) {
  Begin({"a", "b"});
  Message stale = Vm(0).Answer();
  AnswerAll();
  update_->OnAnswer(&Vm(0), stale);
  Answer(1);
  EXPECT_EQ(update_->phase_name(), "prepare");
  Answer(0);
  Answer(0);
  Answer(0);
  EXPECT_TRUE(update_->ready());
}

TEST_F(UpdateTest, AFreezeErrorCancelsThoseAlreadyFrozen) {
  Begin({"a", "b"});
  AnswerAll();
  AnswerAll();
  Answer(0);
  Refuse(1, "vCPU 1 does not stop");
  AnswerAll();
  ExpectUndone();
  EXPECT_THAT(ResultText(), HasSubstr("freeze: VM b: vCPU 1 does not stop"));
  EXPECT_THAT(kexec_.calls, ElementsAre("load", "unload"));
}

TEST_F(UpdateTest, AFreezeTimeoutCancels) {
  Begin({"a", "b"});
  AnswerAll();
  AnswerAll();
  Answer(1);
  clock_.Advance(std::chrono::milliseconds(1000));
  update_->OnTick();
  AnswerAll();
  ExpectUndone();
  EXPECT_THAT(ResultText(), HasSubstr("freeze: VM a did not answer"));
}

TEST_F(UpdateTest, AVmThatVanishesCancelsInEveryPhase) {
  for (int phases = 0; phases < 3; ++phases) {
    vms_.clear();
    Begin({"a", "b"});
    for (int i = 0; i < phases; ++i) AnswerAll();
    Vm(1).session.Reset();
    Vm(1).send_status = absl::UnavailableError("gone");
    update_->OnGone(&Vm(1));
    if (!update_->done()) Answer(0);
    ExpectUndone();
    EXPECT_THAT(ResultText(), HasSubstr("VM b: the VM's process is gone"));
  }
}

TEST_F(UpdateTest, AVmThatVanishesWhileCancellingIsNotWaitedFor) {
  Begin({"a", "b"});
  AnswerAll();
  Refuse(0, "x");
  Answer(0);
  Vm(1).session.Reset();
  update_->OnGone(&Vm(1));
  EXPECT_TRUE(update_->done());
  EXPECT_THAT(ResultText(), HasSubstr("prepare: VM a: x"));
}

TEST_F(UpdateTest, AFrozenVmThatRanOnStopsTheKexec) {
  Begin({"a", "b"});
  AnswerAll();
  AnswerAll();
  Answer(0);
  Answer(1);
  ASSERT_TRUE(update_->ready());
  Vm(0).session.Reset();
  Vm(0).send_status = absl::UnavailableError("gone");
  update_->OnGone(&Vm(0));
  EXPECT_FALSE(update_->ready());
  Answer(1);
  ExpectUndone();
  EXPECT_THAT(kexec_.calls, ElementsAre("load", "unload"));
  EXPECT_THAT(ResultText(), HasSubstr("freeze: VM a: the VM's process is gone"));
}

TEST_F(UpdateTest, AVmThatTakesNoMessageFailsIt) {
  Begin({"a", "b"});
  Vm(1).send_status = absl::UnavailableError("its socket is full");
  AnswerAll();
  Answer(0);
  ExpectUndone();
  EXPECT_THAT(ResultText(), HasSubstr("prepare: VM b: its socket is full"));
}

TEST_F(UpdateTest, ASessionThatCannotBeMadeFailsIt) {
  sessions_.fail_create = "vm-b";
  Begin({"a", "b"});
  AnswerAll();
  Answer(0);
  ExpectUndone();
  EXPECT_THAT(ResultText(), HasSubstr("prepare: VM b: no room for a session"));
}

TEST_F(UpdateTest, AManifestThatCannotBePreservedFailsIt) {
  for (std::string* failure : {&sessions_.fail_create, &sessions_.fail_preserve}) {
    *failure = kManifestSession;
    vms_.clear();
    Begin({"a"});
    AnswerAll();
    AnswerAll();
    AnswerAll();
    ExpectUndone();
    EXPECT_THAT(ResultText(), HasSubstr("prepare: no room for a"));
    failure->clear();
  }
}

TEST_F(UpdateTest, TheOperatorCancelsInEveryPhase) {
  for (int phases = 0; phases < 3; ++phases) {
    vms_.clear();
    Begin({"a"});
    for (int i = 0; i < phases; ++i) AnswerAll();
    update_->Cancel("the operator says no");
    update_->Cancel("and again");
    if (!update_->done()) Answer(0);
    ExpectUndone();
    EXPECT_EQ(ResultText(), "the operator says no");
  }
}

TEST_F(UpdateTest, ACancelIsHeardAfterSyncAndBeforeTheKexec) {
  Begin({"a"});
  AnswerAll();
  Answer(0);
  ASSERT_TRUE(update_->ready());
  update_->Cancel("no");
  EXPECT_FALSE(update_->ready());
  AnswerAll();
  ExpectUndone();
  EXPECT_THAT(Vm(0).sent, testing::Not(testing::Contains(MessageType::kFreeze)));
  vms_.clear();
  Begin({"a"});
  AnswerAll();
  AnswerAll();
  Answer(0);
  ASSERT_TRUE(update_->ready());
  update_->Cancel("no");
  AnswerAll();
  ExpectUndone();
  EXPECT_THAT(kexec_.calls, testing::Not(testing::Contains("execute")));
}

TEST_F(UpdateTest, CallersWithoutEndDoNotKeepGuestsFrozen) {
  for (int phases = 1; phases < 3; ++phases) {
    vms_.clear();
    Begin({"a"});
    for (int i = 0; i < phases; ++i) AnswerAll();
    Answer(0);
    ASSERT_TRUE(update_->ready());
    clock_.Advance(std::chrono::milliseconds(1000));
    update_->OnTick();
    AnswerAll();
    ExpectUndone();
    EXPECT_EQ(update_->result().code(), absl::StatusCode::kDeadlineExceeded);
  }
}

TEST_F(UpdateTest, AMisshapenReplyIsAnError) {
  Begin({"a"});
  AnswerAll();
  update_->OnAnswer(&Vm(0), OkMessage(Vm(0).last_request));
  AnswerAll();
  ExpectUndone();
  EXPECT_THAT(ResultText(), HasSubstr("prepare: VM a"));
}

TEST_F(UpdateTest, TheNextUpdateStartsAfresh) {
  Begin({"a"});
  AnswerAll();
  Refuse(0, "x");
  Answer(0);
  ExpectUndone();
  vms_.clear();
  Begin({"a"});
  AnswerAll();
  AnswerAll();
  AnswerAll();
  EXPECT_THAT(kexec_.calls, testing::Contains("execute"));
}

}  // namespace
}  // namespace vmm
