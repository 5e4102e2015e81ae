#include "tools/luod/restore.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "tools/luod/fake_sessions.h"
#include "tools/luod/fakes.h"
#include "vmm/live_update/tokens.h"

namespace vmm {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

constexpr int kExitedWith1 = 1 << 8;  // as waitpid() says it
constexpr int kKilledBy9 = 9;

Manifest SomeManifest(const std::vector<std::string>& names) {
  Manifest manifest;
  manifest.generation = 4;
  manifest.old_kernel = "7.3.4";
  manifest.tsc_khz = 1000;
  for (const std::string& name : names) {
    manifest.vms.push_back({.name = name,
                            .session = VmSessionName(name),
                            .resume_argv = {"/vmm-" + name, "resume"},
                            .pause_tsc = 1});
  }
  return manifest;
}

class RestoreTest : public testing::Test {
 protected:
  RestoreTest() {
    std::string folder = "/tmp/restoreXXXXXX";
    EXPECT_NE(mkdtemp(folder.data()), nullptr);
    path_ = folder + "/manifest";
  }

  // The last kernel handed over these VMs.
  void HandOver(const std::vector<std::string>& names) {
    sessions_.AddIncoming(kManifestSession, kManifestToken, *WriteManifest(SomeManifest(names)));
    for (const std::string& name : names) {
      sessions_.AddIncoming(VmSessionName(name), kStateToken,
                            UniqueFd(memfd_create("state", MFD_CLOEXEC)));
    }
  }

  absl::Status Begin(Restore::HeldSessions held = {}) {
    absl::StatusOr<Restore> restore =
        Restore::Begin({.sessions = &sessions_,
                        .spawner = &spawner_,
                        .clock = &clock_,
                        .manifest_path = path_,
                        .register_timeout = std::chrono::milliseconds(1000),
                        .log = [](const std::string&) {}},
                       std::move(held));
    if (!restore.ok()) return restore.status();
    restore_ = std::make_unique<Restore>(*std::move(restore));
    restore_->Start();
    return absl::OkStatus();
  }

  // The resumed VM ran, finished its session and closed it.
  void Resumed(size_t child, const std::string& name) {
    spawner_.children[child].session.Reset();
    restore_->OnResumed(name, 500);
  }

  std::string path_;
  FakeSessions sessions_;
  FakeSpawner spawner_;
  FakeClock clock_;
  std::unique_ptr<Restore> restore_;
};

TEST_F(RestoreTest, WithoutASessionThereIsNothingToRestore) {
  ASSERT_TRUE(Begin().ok());
  EXPECT_FALSE(restore_->pending());
  EXPECT_FALSE(restore_->resuming());
  EXPECT_FALSE(restore_->manifest().has_value());
  EXPECT_THAT(restore_->PendingStatus(), IsEmpty());
  EXPECT_THAT(spawner_.children, IsEmpty());
}

TEST_F(RestoreTest, StartsEveryVmAtOnceInOrderWithItsOwnSession) {
  HandOver({"b", "a"});
  ASSERT_TRUE(Begin().ok());
  ASSERT_THAT(spawner_.children, SizeIs(2));
  EXPECT_EQ(spawner_.children[0].argv, (std::vector<std::string>{"/vmm-b", "resume"}));
  EXPECT_EQ(spawner_.children[1].argv, (std::vector<std::string>{"/vmm-a", "resume"}));
  EXPECT_TRUE(restore_->pending());
  Resumed(0, "b");
  EXPECT_FALSE(sessions_.IncomingOpen("vm-b"));  // luod let go
  EXPECT_TRUE(sessions_.IncomingOpen("vm-a"));
  EXPECT_THAT(sessions_.finished, IsEmpty());
  Resumed(1, "a");
  EXPECT_FALSE(restore_->pending());
  EXPECT_THAT(sessions_.finished, testing::ElementsAre(kManifestSession));
  EXPECT_FALSE(sessions_.IncomingOpen(kManifestSession));
  EXPECT_EQ(restore_->manifest()->vms[0].run_tsc, 500u);
  EXPECT_FALSE(LoadManifest(path_)->pending());
}

TEST_F(RestoreTest, TheManifestIsOnDiskBeforeAnySessionIsRetrieved) {
  HandOver({"a"});
  spawner_.fail_program = "/vmm-a";
  ASSERT_TRUE(Restore::Begin({.sessions = &sessions_,
                              .spawner = &spawner_,
                              .clock = &clock_,
                              .manifest_path = path_,
                              .register_timeout = std::chrono::milliseconds(1),
                              .log = [](const std::string&) {}},
                             {})
                  .ok());
  EXPECT_FALSE(sessions_.IncomingOpen("vm-a"));
  EXPECT_EQ(LoadManifest(path_)->vms.size(), 1u);
}

TEST_F(RestoreTest, AFailedVmKeepsItsSessionAndLeavesTheOthersAlone) {
  HandOver({"a", "b"});
  ASSERT_TRUE(Begin().ok());
  Resumed(1, "b");
  EXPECT_TRUE(restore_->resuming());
  spawner_.children[0].session.Reset();
  restore_->OnChildExit(spawner_.children[0].pid, kExitedWith1);
  EXPECT_TRUE(sessions_.IncomingOpen("vm-a"));
  EXPECT_TRUE(restore_->pending());
  EXPECT_FALSE(restore_->resuming());
  std::vector<VmStatus> pending = restore_->PendingStatus();
  ASSERT_THAT(pending, SizeIs(1));
  EXPECT_EQ(pending[0].name, "a");
  EXPECT_EQ(pending[0].state, "failed");
  EXPECT_THAT(pending[0].detail, HasSubstr("exited with status 1"));
  EXPECT_THAT(sessions_.finished, IsEmpty());

  ASSERT_TRUE(restore_->Retry("a").ok());
  ASSERT_THAT(spawner_.children, SizeIs(3));
  EXPECT_EQ(restore_->PendingStatus()[0].state, "resuming");
  EXPECT_TRUE(restore_->resuming());
  Resumed(2, "a");
  EXPECT_FALSE(restore_->resuming());
  EXPECT_FALSE(restore_->pending());
}

TEST_F(RestoreTest, AKilledProcessIsToldFromOneThatExited) {
  HandOver({"a"});
  ASSERT_TRUE(Begin().ok());
  restore_->OnChildExit(4711, kKilledBy9);  // nobody's
  EXPECT_EQ(restore_->PendingStatus()[0].state, "resuming");
  restore_->OnChildExit(spawner_.children[0].pid, kKilledBy9);
  EXPECT_THAT(restore_->PendingStatus()[0].detail, HasSubstr("killed by signal 9"));
}

TEST_F(RestoreTest, AProgramThatCannotBeStartedIsAFailureToRetry) {
  HandOver({"a", "b"});
  spawner_.fail_program = "/vmm-a";
  ASSERT_TRUE(Begin().ok());
  EXPECT_THAT(spawner_.children, SizeIs(1));
  EXPECT_EQ(restore_->Retry("a").code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(sessions_.IncomingOpen("vm-a"));
  spawner_.fail_program.clear();
  EXPECT_TRUE(restore_->Retry("a").ok());
}

TEST_F(RestoreTest, OnlyAFailedVmIsRetriedOrAbandoned) {
  HandOver({"a"});
  ASSERT_TRUE(Begin().ok());
  EXPECT_EQ(restore_->Retry("a").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(restore_->Abandon("a").code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(restore_->Retry("b").code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(restore_->Abandon("b").code(), absl::StatusCode::kNotFound);
  spawner_.children[0].session.Reset();
  restore_->OnChildExit(spawner_.children[0].pid, kExitedWith1);
  ASSERT_TRUE(restore_->Abandon("a").ok());
  EXPECT_FALSE(sessions_.IncomingOpen("vm-a"));
  EXPECT_FALSE(restore_->pending());
  EXPECT_EQ(LoadManifest(path_)->vms[0].outcome, Outcome::kAbandoned);
  EXPECT_EQ(restore_->Abandon("a").code(), absl::StatusCode::kNotFound);
}

TEST_F(RestoreTest, ACorruptManifestTouchesNoVm) {
  HandOver({"a"});
  sessions_.AddIncoming(kManifestSession, kManifestToken,
                        UniqueFd(memfd_create("empty", MFD_CLOEXEC)));
  EXPECT_EQ(Begin().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(spawner_.children, IsEmpty());
  // The next luod does not take it that there is nothing to restore.
  EXPECT_FALSE(Begin().ok());
  EXPECT_TRUE(sessions_.Retrieve("vm-a").ok());  // still waits in the kernel
}

TEST_F(RestoreTest, AManifestThatThisLuodCannotReadIsKeptForOneThatCan) {
  UniqueFd foreign(memfd_create("manifest", MFD_CLOEXEC));
  ASSERT_EQ(write(foreign.get(), "another schema", 14), 14);
  sessions_.AddIncoming(kManifestSession, kManifestToken, std::move(foreign));
  EXPECT_FALSE(Begin().ok());
  char bytes[32] = {};
  UniqueFd kept(open(path_.c_str(), O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(read(kept.get(), bytes, sizeof(bytes)), 14);
  EXPECT_STREQ(bytes, "another schema");
}

TEST_F(RestoreTest, AManifestThatIsLostIsNoHostWithoutVms) {
  sessions_.AddIncoming(kManifestSession, kManifestToken + 1,
                        UniqueFd(memfd_create("other", MFD_CLOEXEC)));
  EXPECT_FALSE(Begin().ok());
  EXPECT_FALSE(Begin().ok());
}

TEST_F(RestoreTest, AProcessThatHangsCountsAsFailedUntilItsVmRegisters) {
  HandOver({"a"});
  ASSERT_TRUE(Begin().ok());
  EXPECT_THAT(std::string(restore_->Retry("a").message()), HasSubstr("by process 1000"));
  clock_.Advance(std::chrono::milliseconds(999));
  restore_->OnTick();
  EXPECT_TRUE(restore_->resuming());
  clock_.Advance(std::chrono::milliseconds(1));
  restore_->OnTick();
  EXPECT_EQ(restore_->PendingStatus()[0].state, "failed");
  EXPECT_THAT(restore_->PendingStatus()[0].detail, HasSubstr("process 1000 resumes it"));
  EXPECT_TRUE(sessions_.IncomingOpen("vm-a"));
  ASSERT_TRUE(restore_->Retry("a").ok());
  EXPECT_THAT(spawner_.children, SizeIs(2));
  // The first one ends after all: that says nothing of the second.
  restore_->OnChildExit(spawner_.children[0].pid, kKilledBy9);
  EXPECT_EQ(restore_->PendingStatus()[0].state, "resuming");
  Resumed(0, "a");
  EXPECT_FALSE(restore_->pending());
}

TEST_F(RestoreTest, ACorruptCopyOnDiskGivesWayToTheSession) {
  ASSERT_EQ(symlink("/dev/null", path_.c_str()), 0);
  HandOver({"a"});
  ASSERT_TRUE(Begin().ok());
  EXPECT_THAT(spawner_.children, SizeIs(1));
}

TEST_F(RestoreTest, ACorruptCopyOnDiskAloneIsSaid) {
  ASSERT_EQ(symlink("/dev/null", path_.c_str()), 0);
  EXPECT_FALSE(Begin().ok());
}

// luod was killed after it read the manifest; nobody held the VM's session.
TEST_F(RestoreTest, AKilledLuodIsSucceededFromTheDisk) {
  ASSERT_TRUE(SaveManifest(path_, SomeManifest({"a"})).ok());
  sessions_.AddIncoming("vm-a", kStateToken, UniqueFd(memfd_create("state", MFD_CLOEXEC)));
  ASSERT_TRUE(Begin().ok());
  EXPECT_THAT(spawner_.children, SizeIs(1));
  Resumed(0, "a");
  EXPECT_FALSE(restore_->pending());
}

// luod was killed while the VM's process resumed; the supervisor kept the sessions.
TEST_F(RestoreTest, AHeldSessionWaitsForItsVmBeforeAnotherIsStarted) {
  HandOver({"a"});
  Restore::HeldSessions held;
  held.emplace(kManifestSession, *sessions_.Retrieve(kManifestSession));
  held.emplace("vm-a", *sessions_.Retrieve("vm-a"));
  ASSERT_TRUE(Begin(std::move(held)).ok());
  EXPECT_THAT(spawner_.children, IsEmpty());
  EXPECT_EQ(restore_->PendingStatus()[0].state, "resuming");
  clock_.Advance(std::chrono::milliseconds(1000));
  restore_->OnTick();
  restore_->OnTick();
  EXPECT_THAT(spawner_.children, SizeIs(1));
  Resumed(0, "a");
  EXPECT_FALSE(restore_->pending());
  EXPECT_THAT(sessions_.finished, testing::ElementsAre(kManifestSession));
}

TEST_F(RestoreTest, AHeldSessionIsLetGoWhenItsVmRegisters) {
  HandOver({"a"});
  Restore::HeldSessions held;
  held.emplace("vm-a", *sessions_.Retrieve("vm-a"));
  ASSERT_TRUE(Begin(std::move(held)).ok());
  restore_->OnResumed("a", 9);
  EXPECT_FALSE(sessions_.IncomingOpen("vm-a"));
  EXPECT_FALSE(restore_->pending());
  clock_.Advance(std::chrono::milliseconds(5000));
  restore_->OnTick();
  EXPECT_THAT(spawner_.children, IsEmpty());
}

// Supervisor and luod were killed: the VM's process alone has the session.
TEST_F(RestoreTest, ASessionThatSomebodyElseHoldsIsWaitedFor) {
  HandOver({"a"});
  absl::StatusOr<luo::LiveUpdateSession> elsewhere = sessions_.Retrieve("vm-a");
  ASSERT_TRUE(Begin().ok());
  EXPECT_THAT(spawner_.children, IsEmpty());
  EXPECT_EQ(restore_->PendingStatus()[0].state, "resuming");
  clock_.Advance(std::chrono::milliseconds(1000));
  restore_->OnTick();
  EXPECT_EQ(restore_->PendingStatus()[0].state, "failed");
  restore_->OnResumed("a", 9);
  EXPECT_FALSE(restore_->pending());
}

// The sessions of an update in which luod was killed are outgoing: they have to be closed.
TEST_F(RestoreTest, OutgoingSessionsAreClosed) {
  Restore::HeldSessions held;
  held.emplace(kManifestSession, *sessions_.Create(kManifestSession));
  held.emplace("vm-a", *sessions_.Create("vm-a"));
  ASSERT_TRUE(Begin(std::move(held)).ok());
  EXPECT_FALSE(restore_->manifest().has_value());
  EXPECT_FALSE(sessions_.OutgoingOpen("vm-a"));
  EXPECT_FALSE(sessions_.OutgoingOpen(kManifestSession));
}

TEST_F(RestoreTest, ACopyOnDiskKeepsTheOutcomes) {
  Manifest manifest = SomeManifest({"a", "b"});
  manifest.vms[0].outcome = Outcome::kResumed;
  manifest.vms[0].run_tsc = 77;
  ASSERT_TRUE(SaveManifest(path_, manifest).ok());
  HandOver({"a", "b"});
  ASSERT_TRUE(Begin().ok());
  ASSERT_THAT(spawner_.children, SizeIs(1));
  EXPECT_EQ(spawner_.children[0].argv[0], "/vmm-b");
  EXPECT_EQ(restore_->manifest()->vms[0].run_tsc, 77u);
}

TEST_F(RestoreTest, ACopyOfAnotherUpdateIsReplaced) {
  Manifest old = SomeManifest({"z"});
  old.generation = 3;
  ASSERT_TRUE(SaveManifest(path_, old).ok());
  HandOver({"a"});
  ASSERT_TRUE(Begin().ok());
  EXPECT_EQ(LoadManifest(path_)->vms[0].name, "a");
}

TEST_F(RestoreTest, AFolderThatCannotBeWrittenDoesNotStopTheVms) {
  path_ = "/nonexistent/manifest";
  HandOver({"a"});
  ASSERT_TRUE(Begin().ok());
  EXPECT_THAT(spawner_.children, SizeIs(1));
}

}  // namespace
}  // namespace vmm
