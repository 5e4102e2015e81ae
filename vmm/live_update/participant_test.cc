#include "vmm/live_update/participant.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

namespace vmm {
namespace {

// Records what it is asked; fails where told to.
class FakeTarget : public LiveUpdateTarget {
 public:
  uint64_t MissingBytes() override { return 8192; }
  absl::StatusOr<PrepareReply> Prepare(UniqueFd session) override {
    Record(session.valid() ? "prepare" : "prepare without session");
    if (!prepare_status.ok()) return prepare_status;
    return PrepareReply{.preserved_bytes = 4096};
  }
  absl::StatusOr<FreezeReply> Freeze() override {
    Record("freeze");
    if (!freeze_status.ok()) return freeze_status;
    return FreezeReply{.state_bytes = 100};
  }
  void Cancel() override { Record("cancel"); }
  void End() override {
    at_end();
    Record("end");
  }

  // Waits until `count` calls were made and returns them.
  std::vector<std::string> Calls(size_t count) {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, std::chrono::seconds(20), [&] { return calls_.size() >= count; });
    return calls_;
  }

  absl::Status prepare_status;
  absl::Status freeze_status;
  std::function<void()> at_end = [] {};

 private:
  void Record(std::string call) {
    std::lock_guard<std::mutex> lock(mutex_);
    calls_.push_back(std::move(call));
    changed_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> calls_;
};

using Calls = std::vector<std::string>;

// luod's end of as many connections as the Participant makes.
class ParticipantTest : public testing::Test {
 protected:
  void Start() {
    auto participant = Participant::Create({.connect = [this] { return Connect(); },
                                            .registration = {.name = "db", .resume_argv = {"/vmm"}},
                                            .retry = std::chrono::milliseconds(1)},
                                           &target_);
    ASSERT_TRUE(participant.ok()) << participant.status();
    participant_ = *std::move(participant);
    participant_->Begin(77);
  }

  absl::StatusOr<UniqueFd> Connect() {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds) < 0) {
      return absl::InternalError("socketpair");
    }
    std::lock_guard<std::mutex> lock(mutex_);
    connections_.emplace_back(fds[1]);
    changed_.notify_all();
    return UniqueFd(fds[0]);
  }

  UniqueFd Accept() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait(lock, [this] { return !connections_.empty(); });
    UniqueFd fd = std::move(connections_.front());
    connections_.pop_front();
    return fd;
  }

  // A connection whose REGISTER was answered with OK.
  UniqueFd AcceptRegistered() {
    UniqueFd luod = Accept();
    absl::StatusOr<Message> request = ReceiveMessage(luod.get());
    EXPECT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(RegisterRequest::FromTree(request->body)->name, "db");
    EXPECT_TRUE(SendMessage(luod.get(), OkMessage(request->request)).ok());
    return luod;
  }

  static absl::StatusOr<Message> Ask(const UniqueFd& luod, MessageType type, bool with_fd = false) {
    static uint32_t request = 100;
    Message message{.type = type, .request = ++request};
    if (with_fd) message.fds.emplace_back(dup(luod.get()));
    absl::Status sent = SendMessage(luod.get(), message);
    if (!sent.ok()) return sent;
    absl::StatusOr<Message> answer = ReceiveMessage(luod.get());
    if (answer.ok()) {
      EXPECT_EQ(answer->request, request);
    }
    return answer;
  }

  FakeTarget target_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<UniqueFd> connections_;
  std::unique_ptr<Participant> participant_;
};

TEST_F(ParticipantTest, AnswersAWholeUpdate) {
  Start();
  UniqueFd luod = AcceptRegistered();
  EXPECT_EQ(PingReply::FromTree(Ask(luod, MessageType::kPing)->body)->missing_bytes, 8192u);
  EXPECT_EQ(PrepareReply::FromTree(Ask(luod, MessageType::kPrepare, true)->body)->preserved_bytes,
            4096u);
  EXPECT_EQ(FreezeReply::FromTree(Ask(luod, MessageType::kFreeze)->body)->state_bytes, 100u);
  EXPECT_EQ(target_.Calls(2), (Calls{"prepare", "freeze"}));
  EXPECT_EQ(Ask(luod, MessageType::kCancel)->type, MessageType::kOk);
  EXPECT_EQ(target_.Calls(3), (Calls{"prepare", "freeze", "cancel"}));
  EXPECT_EQ(Ask(luod, MessageType::kCancel)->type, MessageType::kOk);
  EXPECT_EQ(Ask(luod, MessageType::kPrepare, true)->type, MessageType::kOk);
  EXPECT_EQ(target_.Calls(4), (Calls{"prepare", "freeze", "cancel", "prepare"}));
}

TEST_F(ParticipantTest, LosingLuodCancelsAndRegistersAgain) {
  Start();
  UniqueFd luod = AcceptRegistered();
  ASSERT_EQ(Ask(luod, MessageType::kPrepare, true)->type, MessageType::kOk);
  ASSERT_EQ(Ask(luod, MessageType::kFreeze)->type, MessageType::kOk);
  luod.Reset();
  EXPECT_EQ(target_.Calls(3), (Calls{"prepare", "freeze", "cancel"}));
  luod = AcceptRegistered();
  EXPECT_EQ(Ask(luod, MessageType::kPing)->type, MessageType::kOk);
}

TEST_F(ParticipantTest, FailuresAreSaidAndStillCancelled) {
  target_.freeze_status = absl::InternalError("vCPU 2 does not stop");
  Start();
  UniqueFd luod = AcceptRegistered();
  ASSERT_EQ(Ask(luod, MessageType::kPrepare, true)->type, MessageType::kOk);
  EXPECT_EQ(StatusOfAnswer(*Ask(luod, MessageType::kFreeze)),
            absl::InternalError("vCPU 2 does not stop"));
  EXPECT_EQ(Ask(luod, MessageType::kCancel)->type, MessageType::kOk);
  EXPECT_EQ(target_.Calls(3), (Calls{"prepare", "freeze", "cancel"}));
}

TEST_F(ParticipantTest, FailedPrepareIsCancelledToo) {
  target_.prepare_status = absl::ResourceExhaustedError("no memory");
  Start();
  UniqueFd luod = AcceptRegistered();
  EXPECT_EQ(Ask(luod, MessageType::kPrepare, true)->type, MessageType::kError);
  EXPECT_EQ(Ask(luod, MessageType::kCancel)->type, MessageType::kOk);
  EXPECT_EQ(target_.Calls(2), (Calls{"prepare", "cancel"}));
}

TEST_F(ParticipantTest, RefusesWhatIsOutOfOrder) {
  Start();
  UniqueFd luod = AcceptRegistered();
  EXPECT_EQ(Ask(luod, MessageType::kFreeze)->type, MessageType::kError);
  EXPECT_EQ(Ask(luod, MessageType::kPrepare)->type, MessageType::kError);
  EXPECT_EQ(Ask(luod, MessageType::kStatus)->type, MessageType::kError);
  ASSERT_EQ(Ask(luod, MessageType::kPrepare, true)->type, MessageType::kOk);
  EXPECT_EQ(Ask(luod, MessageType::kPrepare, true)->type, MessageType::kError);
  EXPECT_EQ(target_.Calls(1), (Calls{"prepare"}));
}

TEST_F(ParticipantTest, GarbageEndsTheConnectionNotTheVm) {
  Start();
  UniqueFd luod = AcceptRegistered();
  ASSERT_EQ(Ask(luod, MessageType::kPrepare, true)->type, MessageType::kOk);
  ASSERT_EQ(send(luod.get(), "garbage", 7, 0), 7);
  EXPECT_EQ(target_.Calls(2), (Calls{"prepare", "cancel"}));
  EXPECT_EQ(Ask(AcceptRegistered(), MessageType::kPing)->type, MessageType::kOk);
}

TEST_F(ParticipantTest, ARefusedRegistrationIsTriedAgain) {
  Start();
  {
    UniqueFd luod = Accept();
    absl::StatusOr<Message> request = ReceiveMessage(luod.get());
    ASSERT_TRUE(request.ok());
    ASSERT_TRUE(SendMessage(luod.get(), ErrorMessage(request->request,
                                                     absl::UnavailableError("update in progress")))
                    .ok());
  }
  EXPECT_EQ(Ask(AcceptRegistered(), MessageType::kPing)->type, MessageType::kOk);
}

// Were it cancelled, a frozen guest would run on, and the next kernel might go on with it too.
TEST_F(ParticipantTest, EndingClosesTheConnectionAndThenEndsTheUpdate) {
  Start();
  UniqueFd luod = AcceptRegistered();
  ssize_t received = -1;
  target_.at_end = [&] {
    char byte;
    received = recv(luod.get(), &byte, sizeof(byte), MSG_DONTWAIT);
  };
  ASSERT_EQ(Ask(luod, MessageType::kPrepare, true)->type, MessageType::kOk);
  ASSERT_EQ(Ask(luod, MessageType::kFreeze)->type, MessageType::kOk);
  participant_.reset();
  EXPECT_EQ(target_.Calls(3), (Calls{"prepare", "freeze", "end"}));
  EXPECT_EQ(received, 0) << "the connection was open still";
}

TEST_F(ParticipantTest, EndingAfterAFailedPrepareEndsTheUpdateToo) {
  target_.prepare_status = absl::ResourceExhaustedError("no memory");
  Start();
  UniqueFd luod = AcceptRegistered();
  ASSERT_EQ(Ask(luod, MessageType::kPrepare, true)->type, MessageType::kError);
  participant_.reset();
  EXPECT_EQ(target_.Calls(2), (Calls{"prepare", "end"}));
}

TEST_F(ParticipantTest, EndingWithoutAnUpdateAsksNothing) {
  Start();
  UniqueFd luod = AcceptRegistered();
  ASSERT_EQ(Ask(luod, MessageType::kPrepare, true)->type, MessageType::kOk);
  ASSERT_EQ(Ask(luod, MessageType::kCancel)->type, MessageType::kOk);
  participant_.reset();
  EXPECT_EQ(target_.Calls(0), (Calls{"prepare", "cancel"}));
}

TEST_F(ParticipantTest, NeedsNotBegin) {
  auto participant = Participant::Create({.connect =
                                              [] {
                                                ADD_FAILURE() << "not before Begin()";
                                                return absl::UnavailableError("");
                                              },
                                          .registration = {.name = "db", .resume_argv = {"/vmm"}}},
                                         &target_);
  ASSERT_TRUE(participant.ok()) << participant.status();
  participant->reset();
  EXPECT_EQ(target_.Calls(0), Calls{});
}

TEST_F(ParticipantTest, RefusesANameThatIsNone) {
  EXPECT_FALSE(
      Participant::Create(
          {.connect = [this] { return Connect(); }, .registration = {.name = "../x"}}, &target_)
          .ok());
}

}  // namespace
}  // namespace vmm
