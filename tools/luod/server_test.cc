#include "tools/luod/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/socket.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/luod/fake_sessions.h"
#include "tools/luod/fakes.h"
#include "vmm/live_update/socket.h"
#include "vmm/live_update/tokens.h"

namespace vmm {
namespace {

using testing::HasSubstr;

// A server over a real socket; the other ends are the test's. Everything runs in one thread.
class ServerTest : public testing::Test {
 protected:
  ServerTest() {
    std::string folder = "/tmp/serverXXXXXX";
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    folder_ = folder;
  }

  void Start() {
    auto log = [this](const std::string& line) { log_.push_back(line); };
    absl::StatusOr<UniqueFd> listener = ListenOn(folder_ + "/luod.sock");
    ASSERT_TRUE(listener.ok()) << listener.status();
    absl::StatusOr<Restore> restore = Restore::Begin({.sessions = &sessions_,
                                                      .spawner = &spawner_,
                                                      .clock = &clock_,
                                                      .manifest_path = folder_ + "/manifest",
                                                      .register_timeout = std::chrono::seconds(10),
                                                      .log = log},
                                                     {});
    ASSERT_TRUE(restore.ok()) << restore.status();
    restore->Start();
    server_ = std::make_unique<Server>(
        Server::Environment{.sessions = &sessions_,
                            .kexec = &kexec_,
                            .host = &host_,
                            .clock = &clock_,
                            .log = log,
                            .vm_timeout = std::chrono::milliseconds(1000),
                            .settling_time = std::chrono::milliseconds(2000),
                            .kernel_release = "7.3.5"},
        *std::move(listener), UniqueFd(), *std::move(restore));
    clock_.Advance(settled_);
  }

  void Settle() {
    for (int i = 0; i < 10; ++i) server_->Step(std::chrono::milliseconds(0));
  }

  UniqueFd Connect() {
    absl::StatusOr<UniqueFd> fd = ConnectTo(folder_ + "/luod.sock");
    EXPECT_TRUE(fd.ok()) << fd.status();
    Settle();
    return *std::move(fd);
  }

  // What the server sends next; fails the test when there is nothing.
  absl::StatusOr<Message> Next(const UniqueFd& fd) {
    Settle();
    pollfd poll_fd = {fd.get(), POLLIN, 0};
    if (poll(&poll_fd, 1, 0) == 0) return absl::NotFoundError("nothing was sent");
    return ReceiveMessage(fd.get());
  }
  bool Closed(const UniqueFd& fd) { return absl::IsUnavailable(Next(fd).status()); }

  void Send(const UniqueFd& fd, const Message& message) {
    EXPECT_TRUE(SendMessage(fd.get(), message).ok());
    Settle();
  }

  absl::Status Ask(const UniqueFd& fd, const Message& message) {
    Send(fd, message);
    absl::StatusOr<Message> answer = Next(fd);
    return answer.ok() ? StatusOfAnswer(*answer) : answer.status();
  }

  static RegisterRequest Registration(const std::string& name, bool resumed = false) {
    return {.name = name,
            .vcpus = 2,
            .pid = 42,
            .resume_argv = {"/vmm"},
            .resumed = resumed,
            .run_tsc = 900};
  }

  UniqueFd RegisteredVm(const std::string& name) {
    UniqueFd vm = Connect();
    EXPECT_TRUE(Ask(vm, Registration(name).ToMessage(1)).ok());
    return vm;
  }

  static Message UpgradeMessage(bool check_only = false) {
    std::vector<UniqueFd> fds;
    fds.emplace_back(memfd_create("kernel", MFD_CLOEXEC));
    return UpgradeRequest{.command_line = "quiet", .check_only = check_only}.ToMessage(
        5, std::move(fds));
  }

  // The VM's answer to the request that must be there.
  void AnswerNext(const UniqueFd& vm, MessageType expected) {
    absl::StatusOr<Message> request = Next(vm);
    ASSERT_TRUE(request.ok()) << request.status();
    ASSERT_EQ(request->type, expected);
    if (expected == MessageType::kPrepare) {
      Send(vm, PrepareReply{}.ToMessage(request->request));
    } else if (expected == MessageType::kFreeze) {
      Send(vm, FreezeReply{.pause_tsc = 1}.ToMessage(request->request));
    } else {
      Send(vm, OkMessage(request->request));
    }
  }

  // Reads progress until the answer.
  absl::Status UpgradeResult(const UniqueFd& luoctl) {
    for (;;) {
      absl::StatusOr<Message> message = Next(luoctl);
      if (!message.ok()) return message.status();
      if (message->type != MessageType::kProgress) return StatusOfAnswer(*message);
    }
  }

  struct Status {
    HostStatus host;
    std::vector<VmStatus> vms;
  };
  Status AskStatus() {
    UniqueFd luoctl = Connect();
    Send(luoctl, Message{.type = MessageType::kStatus, .request = 3});
    Status status;
    for (;;) {
      absl::StatusOr<Message> message = Next(luoctl);
      if (!message.ok()) {
        ADD_FAILURE() << message.status();
        return status;
      }
      EXPECT_EQ(message->request, 3u);
      if (message->type == MessageType::kOk) {
        status.host = *HostStatus::FromTree(message->body);
        return status;
      }
      status.vms.push_back(*VmStatus::FromTree(message->body));
    }
  }

  void HandOver(const std::string& name) {
    Manifest manifest;
    manifest.generation = 1;
    manifest.old_kernel = "7.3.4";
    manifest.tsc_khz = 1000;
    manifest.vms.push_back(
        {.name = name, .session = VmSessionName(name), .resume_argv = {"/vmm"}, .pause_tsc = 100});
    sessions_.AddIncoming(kManifestSession, kManifestToken, *WriteManifest(manifest));
    sessions_.AddIncoming(VmSessionName(name), kStateToken,
                          UniqueFd(memfd_create("state", MFD_CLOEXEC)));
  }

  std::string folder_;
  FakeSessions sessions_;
  FakeKexec kexec_;
  FakeHost host_;
  FakeClock clock_;
  std::chrono::milliseconds settled_{2000};
  FakeSpawner spawner_;
  std::vector<std::string> log_;
  std::unique_ptr<Server> server_;
};

TEST_F(ServerTest, ListsRegisteredVms) {
  Start();
  UniqueFd b = RegisteredVm("b");
  UniqueFd a = RegisteredVm("a");
  Status status = AskStatus();
  EXPECT_EQ(status.host.phase, "idle");
  EXPECT_EQ(status.host.kernel, "7.3.5");
  EXPECT_EQ(status.host.old_kernel, "");
  ASSERT_EQ(status.vms.size(), 2u);
  EXPECT_EQ(status.vms[0].name, "a");
  EXPECT_EQ(status.vms[0].state, "running");
  EXPECT_EQ(status.vms[0].pid, 42u);
  b.Reset();
  Settle();
  EXPECT_EQ(AskStatus().vms.size(), 1u);
}

TEST_F(ServerTest, ANameIsTakenWhileItsVmIsConnected) {
  Start();
  UniqueFd vm = RegisteredVm("a");
  UniqueFd other = Connect();
  EXPECT_EQ(Ask(other, Registration("a").ToMessage(1)).code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(Closed(other));
  vm.Reset();
  RegisteredVm("a");
}

TEST_F(ServerTest, HostilePeersAreDisconnectedAndOthersServed) {
  Start();
  UniqueFd vm = RegisteredVm("a");
  UniqueFd garbage = Connect();
  ASSERT_EQ(send(garbage.get(), "garbage", 7, 0), 7);
  EXPECT_TRUE(Closed(garbage));
  UniqueFd nameless = Connect();
  Send(nameless, Message{.type = MessageType::kRegister});
  EXPECT_TRUE(Closed(nameless));
  UniqueFd confused = Connect();
  Send(confused, Message{.type = MessageType::kPing});
  EXPECT_TRUE(Closed(confused));
  UniqueFd retry = Connect();
  Send(retry, VmNameRequest{.name = "../etc"}.ToMessage(MessageType::kRetry, 1));
  EXPECT_TRUE(Closed(retry));
  EXPECT_EQ(AskStatus().vms.size(), 1u);
  Send(vm, Message{.type = MessageType::kUpgrade});  // a VM may not
  EXPECT_TRUE(Closed(vm));
}

TEST_F(ServerTest, AWholeUpgradeReportsItsProgressAndItsEnd) {
  Start();
  UniqueFd vm = RegisteredVm("a");
  UniqueFd luoctl = Connect();
  kexec_.execute_status = absl::InternalError("the kernel refuses");
  Send(luoctl, UpgradeMessage());
  AnswerNext(vm, MessageType::kPing);
  EXPECT_EQ(AskStatus().host.phase, "prepare");
  EXPECT_EQ(AskStatus().vms[0].state, "updating");
  AnswerNext(vm, MessageType::kPrepare);
  AnswerNext(vm, MessageType::kFreeze);
  AnswerNext(vm, MessageType::kCancel);
  absl::StatusOr<Message> first = Next(luoctl);
  ASSERT_TRUE(first.ok());
  EXPECT_EQ(first->type, MessageType::kProgress);
  EXPECT_EQ(first->request, 5u);
  EXPECT_THAT(std::string(UpgradeResult(luoctl).message()), HasSubstr("the kernel refuses"));
  EXPECT_EQ(AskStatus().host.phase, "idle");
  EXPECT_EQ(AskStatus().vms[0].state, "running");
}

TEST_F(ServerTest, ADryRunAnswersOk) {
  Start();
  UniqueFd vm = RegisteredVm("a");
  UniqueFd luoctl = Connect();
  Send(luoctl, UpgradeMessage(/*check_only=*/true));
  AnswerNext(vm, MessageType::kPing);
  EXPECT_TRUE(UpgradeResult(luoctl).ok());
  EXPECT_FALSE(kexec_.loaded);
}

TEST_F(ServerTest, DuringAnUpdateNoOtherBegins) {
  Start();
  UniqueFd vm = RegisteredVm("a");
  UniqueFd luoctl = Connect();
  Send(luoctl, UpgradeMessage());
  UniqueFd second = Connect();
  EXPECT_EQ(Ask(second, UpgradeMessage()).code(), absl::StatusCode::kUnavailable);
  // The refused one goes; the update does not care.
  second.Reset();
  AnswerNext(vm, MessageType::kPing);
  AnswerNext(vm, MessageType::kPrepare);
  AnswerNext(vm, MessageType::kFreeze);
  EXPECT_THAT(kexec_.calls, testing::Contains("execute"));
}

TEST_F(ServerTest, AVmThatComesDuringAnUpdateEndsItAndIsTakenAfterwards) {
  Start();
  UniqueFd vm = RegisteredVm("a");
  UniqueFd luoctl = Connect();
  Send(luoctl, UpgradeMessage());
  AnswerNext(vm, MessageType::kPing);
  UniqueFd late = Connect();
  EXPECT_EQ(Ask(late, Registration("late").ToMessage(1)).code(), absl::StatusCode::kUnavailable);
  ASSERT_EQ(Next(vm)->type, MessageType::kPrepare);
  AnswerNext(vm, MessageType::kCancel);
  EXPECT_THAT(std::string(UpgradeResult(luoctl).message()), HasSubstr("VM late has just come"));
  // It would still be lost.
  EXPECT_THAT(std::string(Ask(luoctl, UpgradeMessage()).message()),
              HasSubstr("VM late runs, is not registered"));
  UniqueFd again = RegisteredVm("late");
  Send(luoctl, UpgradeMessage());
  EXPECT_EQ(Next(vm)->type, MessageType::kPing);
  EXPECT_EQ(Next(again)->type, MessageType::kPing);
}

TEST_F(ServerTest, AVmWhoseNameIsTakenIsNotLostUnheard) {
  Start();
  UniqueFd vm = RegisteredVm("a");
  UniqueFd other = Connect();
  EXPECT_EQ(Ask(other, Registration("a").ToMessage(1)).code(), absl::StatusCode::kAlreadyExists);
  UniqueFd luoctl = Connect();
  EXPECT_THAT(std::string(Ask(luoctl, UpgradeMessage()).message()), HasSubstr("VM a runs"));
  clock_.Advance(std::chrono::milliseconds(2000));  // it did not come again
  Send(luoctl, UpgradeMessage());
  EXPECT_EQ(Next(vm)->type, MessageType::kPing);
}

TEST_F(ServerTest, ANewLuodLeavesVmsTimeToFindIt) {
  settled_ = std::chrono::milliseconds(1999);
  Start();
  UniqueFd luoctl = Connect();
  Send(luoctl, UpgradeMessage());
  EXPECT_EQ(Progress::FromTree(Next(luoctl)->body)->text,
            "luod has just started: VMs are given time to find it");
  EXPECT_THAT(kexec_.calls, testing::IsEmpty());
  UniqueFd second = Connect();
  EXPECT_EQ(Ask(second, UpgradeMessage()).code(), absl::StatusCode::kUnavailable);
  UniqueFd vm = RegisteredVm("a");
  clock_.Advance(std::chrono::milliseconds(1));
  EXPECT_EQ(Next(vm)->type, MessageType::kPing);
}

TEST_F(ServerTest, AnUpdateThatWaitsCanBeCalledOff) {
  settled_ = std::chrono::milliseconds(0);
  Start();
  UniqueFd luoctl = Connect();
  Send(luoctl, UpgradeMessage());
  UniqueFd other = Connect();
  EXPECT_TRUE(Ask(other, Message{.type = MessageType::kCancelUpgrade}).ok());
  EXPECT_EQ(UpgradeResult(luoctl).code(), absl::StatusCode::kCancelled);
  // By its luoctl's end, too.
  Send(luoctl, UpgradeMessage());
  luoctl.Reset();
  Settle();
  UniqueFd third = Connect();
  Send(third, UpgradeMessage());
  server_->RequestStop();
  EXPECT_EQ(UpgradeResult(third).code(), absl::StatusCode::kCancelled);
  clock_.Advance(std::chrono::milliseconds(5000));
  Settle();
  EXPECT_THAT(kexec_.calls, testing::IsEmpty());
}

TEST_F(ServerTest, WhatArrivedWhileLuodWasDeafIsHeardBeforeGuestsPause) {
  Start();
  UniqueFd vm = RegisteredVm("a");
  UniqueFd other = Connect();
  UniqueFd luoctl = Connect();
  Send(luoctl, UpgradeMessage());
  AnswerNext(vm, MessageType::kPing);
  absl::StatusOr<Message> prepare = Next(vm);
  ASSERT_EQ(prepare->type, MessageType::kPrepare);
  // Both are there when luod looks again.
  ASSERT_TRUE(SendMessage(other.get(), Message{.type = MessageType::kCancelUpgrade}).ok());
  Send(vm, PrepareReply{}.ToMessage(prepare->request));
  absl::StatusOr<Message> next = Next(vm);
  ASSERT_TRUE(next.ok());
  EXPECT_EQ(next->type, MessageType::kCancel);
}

TEST_F(ServerTest, CancelEndsAnUpdate) {
  Start();
  UniqueFd vm = RegisteredVm("a");
  UniqueFd other = Connect();
  EXPECT_EQ(Ask(other, Message{.type = MessageType::kCancelUpgrade}).code(),
            absl::StatusCode::kFailedPrecondition);
  UniqueFd luoctl = Connect();
  Send(luoctl, UpgradeMessage());
  AnswerNext(vm, MessageType::kPing);
  EXPECT_TRUE(Ask(other, Message{.type = MessageType::kCancelUpgrade}).ok());
  ASSERT_EQ(Next(vm)->type, MessageType::kPrepare);
  AnswerNext(vm, MessageType::kCancel);
  EXPECT_EQ(UpgradeResult(luoctl).code(), absl::StatusCode::kCancelled);
  EXPECT_FALSE(sessions_.OutgoingOpen("vm-a"));
}

TEST_F(ServerTest, AnUpdateIsCancelledWhenItsLuoctlGoes) {
  Start();
  UniqueFd vm = RegisteredVm("a");
  UniqueFd luoctl = Connect();
  Send(luoctl, UpgradeMessage());
  AnswerNext(vm, MessageType::kPing);
  luoctl.Reset();
  ASSERT_EQ(Next(vm)->type, MessageType::kPrepare);
  AnswerNext(vm, MessageType::kCancel);
  EXPECT_EQ(AskStatus().host.phase, "idle");
  EXPECT_FALSE(kexec_.loaded);
}

TEST_F(ServerTest, AVmThatVanishesFailsTheUpdate) {
  Start();
  UniqueFd a = RegisteredVm("a");
  UniqueFd b = RegisteredVm("b");
  UniqueFd luoctl = Connect();
  Send(luoctl, UpgradeMessage());
  AnswerNext(a, MessageType::kPing);
  AnswerNext(b, MessageType::kPing);
  b.Reset();
  ASSERT_EQ(Next(a)->type, MessageType::kPrepare);
  AnswerNext(a, MessageType::kCancel);
  EXPECT_THAT(std::string(UpgradeResult(luoctl).message()), HasSubstr("prepare: VM b"));
  EXPECT_EQ(AskStatus().vms.size(), 1u);
}

TEST_F(ServerTest, AnUpgradeWithoutAKernelIsAnError) {
  Start();
  UniqueFd luoctl = Connect();
  EXPECT_EQ(Ask(luoctl, UpgradeRequest{.command_line = "quiet"}.ToMessage(1, {})).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST_F(ServerTest, RestoresReportsAndOnlyThenUpdatesAgain) {
  HandOver("a");
  Start();
  ASSERT_EQ(spawner_.children.size(), 1u);
  Status status = AskStatus();
  EXPECT_EQ(status.host.phase, "restoring");
  ASSERT_EQ(status.vms.size(), 1u);
  EXPECT_EQ(status.vms[0].state, "resuming");
  UniqueFd luoctl = Connect();
  absl::Status refused = Ask(luoctl, UpgradeMessage());
  EXPECT_EQ(refused.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.message()), HasSubstr("a"));
  UniqueFd impostor = Connect();
  EXPECT_EQ(Ask(impostor, Registration("a").ToMessage(1)).code(), absl::StatusCode::kAlreadyExists);

  UniqueFd vm = Connect();
  EXPECT_TRUE(Ask(vm, Registration("a", /*resumed=*/true).ToMessage(1)).ok());
  status = AskStatus();
  EXPECT_EQ(status.host.phase, "idle");
  EXPECT_EQ(status.host.old_kernel, "7.3.4");
  EXPECT_EQ(status.host.generation, 1u);
  EXPECT_EQ(status.host.blackout_ns, 800'000u);
  ASSERT_EQ(status.vms.size(), 1u);
  EXPECT_EQ(status.vms[0].state, "running");
  EXPECT_EQ(status.vms[0].blackout_ns, 800'000u);
  clock_.Advance(std::chrono::milliseconds(2000));  // the impostor is gone
  Send(luoctl, UpgradeMessage());
  EXPECT_EQ(Next(vm)->type, MessageType::kPing);
}

TEST_F(ServerTest, AFailedVmIsRetriedAndAbandonedByName) {
  HandOver("a");
  spawner_.fail_program = "/vmm";
  Start();
  Status status = AskStatus();
  ASSERT_EQ(status.vms.size(), 1u);
  EXPECT_EQ(status.vms[0].state, "failed");
  UniqueFd luoctl = Connect();
  EXPECT_FALSE(Ask(luoctl, VmNameRequest{.name = "a"}.ToMessage(MessageType::kRetry, 1)).ok());
  EXPECT_EQ(Ask(luoctl, VmNameRequest{.name = "b"}.ToMessage(MessageType::kAbandon, 2)).code(),
            absl::StatusCode::kNotFound);
  EXPECT_TRUE(Ask(luoctl, VmNameRequest{.name = "a"}.ToMessage(MessageType::kAbandon, 3)).ok());
  EXPECT_EQ(AskStatus().host.phase, "idle");
}

TEST_F(ServerTest, EndsWhenNothingDependsOnIt) {
  Start();
  server_->RequestStop();
  EXPECT_TRUE(server_->stopped());
}

TEST_F(ServerTest, EndsOnlyOnceNoVmAwaitsItsResume) {
  HandOver("a");
  Start();
  server_->RequestStop();
  EXPECT_FALSE(server_->stopped());
  UniqueFd vm = Connect();
  EXPECT_TRUE(Ask(vm, Registration("a", /*resumed=*/true).ToMessage(1)).ok());
  Settle();
  EXPECT_TRUE(server_->stopped());
}

TEST_F(ServerTest, CancelsAnUpdateBeforeItEnds) {
  Start();
  UniqueFd vm = RegisteredVm("a");
  UniqueFd luoctl = Connect();
  Send(luoctl, UpgradeMessage());
  AnswerNext(vm, MessageType::kPing);
  ASSERT_EQ(Next(vm)->type, MessageType::kPrepare);
  server_->RequestStop();
  Settle();
  EXPECT_FALSE(server_->stopped());
  AnswerNext(vm, MessageType::kCancel);
  EXPECT_TRUE(server_->stopped());
  EXPECT_EQ(UpgradeResult(luoctl).code(), absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace vmm
