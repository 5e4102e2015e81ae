#include "tools/luoctl/commands.h"

#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/socket.h>

#include <functional>
#include <string>
#include <thread>
#include <utility>

#include "vmm/live_update/messages.h"

namespace vmm {
namespace {

// Answers one request as `answer` says; null closes the connection instead.
class FakeLuod {
 public:
  explicit FakeLuod(std::function<Message(const Message&)> answer) {
    std::string folder = "/tmp/luoctlXXXXXX";
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    path_ = folder + "/luod.sock";
    absl::StatusOr<UniqueFd> listener = ListenOn(path_);
    EXPECT_TRUE(listener.ok());
    thread_ = std::thread([listener = *std::move(listener), answer = std::move(answer)] {
      UniqueFd connection;
      while (!connection.valid()) {
        connection.Reset(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
        std::this_thread::yield();
      }
      absl::StatusOr<Message> request = ReceiveMessage(connection.get());
      EXPECT_TRUE(request.ok()) << request.status();
      if (answer && request.ok()) {
        EXPECT_TRUE(SendMessage(connection.get(), answer(*request)).ok());
      }
    });
  }
  ~FakeLuod() { thread_.join(); }
  Options Reached() const {
    Options options;
    options.socket_path = path_;
    options.name = "db";
    return options;
  }

 private:
  std::string path_;
  std::thread thread_;
};

Message Refuse(const Message& request) {
  return ErrorMessage(request.request, absl::FailedPreconditionError("no"));
}

TEST(CommandsTest, WithoutLuodEveryCommandSaysSo) {
  Options options;
  options.socket_path = "/nonexistent/luod.sock";
  options.name = "db";
  options.kernel = "/dev/null";
  options.yes = true;
  for (auto* command : {RunStatus, RunUpgrade, RunCancel, RunRetry, RunAbandon}) {
    EXPECT_EQ(command(options), kUnreachable);
  }
}

TEST(CommandsTest, StatusIsPrinted) {
  FakeLuod luod([](const Message& request) { return HostStatus().ToMessage(request.request); });
  EXPECT_EQ(RunStatus(luod.Reached()), kDone);
}

TEST(CommandsTest, AStatusThatIsNoneFails) {
  FakeLuod luod([](const Message& request) { return OkMessage(request.request); });
  EXPECT_EQ(RunStatus(luod.Reached()), kFailed);
}

TEST(CommandsTest, RetryNamesTheVm) {
  FakeLuod luod([](const Message& request) {
    EXPECT_EQ(request.type, MessageType::kRetry);
    EXPECT_EQ(VmNameRequest::FromTree(request.body)->name, "db");
    return OkMessage(request.request);
  });
  EXPECT_EQ(RunRetry(luod.Reached()), kDone);
}

TEST(CommandsTest, ARefusalFails) {
  FakeLuod luod(Refuse);
  EXPECT_EQ(RunCancel(luod.Reached()), kFailed);
}

TEST(CommandsTest, ALuodThatVanishesIsLost) {
  FakeLuod luod(nullptr);
  EXPECT_EQ(RunCancel(luod.Reached()), kUnreachable);
}

TEST(CommandsTest, AbandonWantsToBeMeant) {
  Options options;
  options.name = "db";
  EXPECT_EQ(RunAbandon(options), kUsage);
  FakeLuod luod([](const Message& request) {
    EXPECT_EQ(request.type, MessageType::kAbandon);
    return OkMessage(request.request);
  });
  options = luod.Reached();
  options.yes = true;
  EXPECT_EQ(RunAbandon(options), kDone);
}

TEST(CommandsTest, ANameThatIsNoneIsNotSent) {
  Options options;
  options.name = "../db";
  EXPECT_EQ(RunRetry(options), kUsage);
}

TEST(CommandsTest, UpgradePassesTheFilesAndTheCommandLine) {
  FakeLuod luod([](const Message& message) {
    absl::StatusOr<UpgradeRequest> request = UpgradeRequest::FromMessage(message);
    EXPECT_TRUE(request.ok()) << request.status();
    EXPECT_EQ(message.fds.size(), 2u);
    EXPECT_EQ(request->command_line, "quiet liveupdate=on");
    EXPECT_TRUE(request->check_only);
    EXPECT_EQ(request->vm_timeout_ms, 5000u);
    return OkMessage(message.request);
  });
  Options options = luod.Reached();
  options.kernel = "/dev/null";
  options.initrd = "/dev/zero";
  options.command_line.replace = "quiet liveupdate=on";
  options.dry_run = true;
  options.timeout_ms = 5000;
  EXPECT_EQ(RunUpgrade(options), kDone);
}

TEST(CommandsTest, AFileThatIsNotThereIsUsage) {
  Options options;
  options.kernel = "/nonexistent/bzImage";
  EXPECT_EQ(RunUpgrade(options), kUsage);
}

TEST(CommandsTest, AFailedUpgradeFails) {
  FakeLuod luod(Refuse);
  Options options = luod.Reached();
  options.kernel = "/dev/null";
  EXPECT_EQ(RunUpgrade(options), kFailed);
}

}  // namespace
}  // namespace vmm
