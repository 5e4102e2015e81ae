#include "tools/luoctl/luod_client.h"

#include <gtest/gtest.h>
#include <sys/socket.h>

#include <string>
#include <utility>
#include <vector>

namespace vmm {
namespace {

class LuodClientTest : public testing::Test {
 protected:
  LuodClientTest() {
    int fds[2];
    EXPECT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
    luod_.Reset(fds[0]);
    client_ = std::make_unique<LuodClient>(UniqueFd(fds[1]));
  }

  absl::StatusOr<Message> Ask() {
    return client_->Ask(Message{.type = MessageType::kUpgrade}, [this](const Message& part) {
      absl::StatusOr<Progress> progress = Progress::FromTree(part.body);
      if (!progress.ok()) return progress.status();
      parts_.push_back(progress->text);
      return absl::OkStatus();
    });
  }

  UniqueFd luod_;
  std::unique_ptr<LuodClient> client_;
  std::vector<std::string> parts_;
};

TEST_F(LuodClientTest, PassesPartsOnUntilTheAnswer) {
  ASSERT_TRUE(
      SendMessage(luod_.get(), Progress{.phase = "check", .text = "one"}.ToMessage(1)).ok());
  ASSERT_TRUE(
      SendMessage(luod_.get(), Progress{.phase = "check", .text = "two"}.ToMessage(1)).ok());
  ASSERT_TRUE(SendMessage(luod_.get(), OkMessage(1)).ok());
  EXPECT_TRUE(Ask().ok());
  EXPECT_EQ(parts_, (std::vector<std::string>{"one", "two"}));
  EXPECT_FALSE(client_->lost());
  EXPECT_EQ(ReceiveMessage(luod_.get())->type, MessageType::kUpgrade);
}

TEST_F(LuodClientTest, AnErrorIsNotALostLuod) {
  ASSERT_TRUE(SendMessage(luod_.get(), ErrorMessage(1, absl::InternalError("no"))).ok());
  EXPECT_EQ(Ask().status(), absl::InternalError("no"));
  EXPECT_FALSE(client_->lost());
}

TEST_F(LuodClientTest, ALostLuodIsSaid) {
  luod_.Reset();
  EXPECT_FALSE(Ask().ok());
  EXPECT_TRUE(client_->lost());
}

TEST_F(LuodClientTest, APartThatIsNoneEndsIt) {
  ASSERT_TRUE(SendMessage(luod_.get(), Message{.type = MessageType::kVmStatus}).ok());
  EXPECT_FALSE(Ask().ok());
}

TEST_F(LuodClientTest, ALuodThatDoesNotAnswerIsNotWaitedForForEver) {
  int fds[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, fds), 0);
  UniqueFd luod(fds[0]);
  LuodClient client(UniqueFd(fds[1]), std::chrono::seconds(1));
  const absl::StatusOr<Message> answer = client.Ask(
      Message{.type = MessageType::kStatus}, [](const Message&) { return absl::OkStatus(); });
  EXPECT_EQ(answer.status().message(), "luod has not answered for 1 s: see its log");
  EXPECT_TRUE(client.lost());
}

TEST(LuodClientConnectTest, SaysThatNobodyIsThere) {
  absl::Status status = LuodClient::Connect("/nonexistent/luod.sock").status();
  EXPECT_EQ(status.message(), "luod cannot be reached: no luod listens on /nonexistent/luod.sock");
}

}  // namespace
}  // namespace vmm
