// A machine on real KVM under an update that goes well, fails or is called off. Sessions are
// FakeLuo's, or none at all.
#include "vmm/live_update/machine_update.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "luo_kernel/client/fake_luo.h"
#include "vmm/live_update/resume.h"
#include "vmm/live_update/tokens.h"
#include "vmm/machine/test_machine.h"
#include "vmm/state/state_memfd.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;

struct stat StatOf(int fd) {
  struct stat info = {};
  EXPECT_EQ(fstat(fd, &info), 0);
  return info;
}

class MachineUpdateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (absl::Status status = Kvm::Open().status(); !status.ok()) GTEST_SKIP() << status;
    auto machine = Machine::Boot(surroundings_.ConfigWithCommands(""), surroundings_.environment());
    ASSERT_TRUE(machine.ok()) << machine.status();
    machine_ = *std::move(machine);
    machine_->Resume();
    ASSERT_TRUE(Counts(*machine_));
    update_.emplace(machine_.get(), MachineUpdate::Surroundings{.quiesce = [this] { ++quiesced_; },
                                                                .go_on = [this] { ++went_on_; }});
  }

  // Where the session's ioctls are answered; skips where they cannot be.
  void WithLuo(const std::function<void()>& body) {
    if (absl::Status ran = luo_.Run(body); !ran.ok()) GTEST_SKIP() << ran;
  }

  void ExpectStandsStill() {
    const uint32_t count = CountOf(*machine_);
    usleep(20'000);
    EXPECT_EQ(CountOf(*machine_), count);
  }

  TestSurroundings surroundings_;
  luo::FakeLuo luo_;
  std::unique_ptr<Machine> machine_;
  int quiesced_ = 0;
  int went_on_ = 0;
  std::optional<MachineUpdate> update_;
};

TEST_F(MachineUpdateTest, ADescriptorThatIsNoSessionLeavesTheGuestRunning) {
  auto prepared = update_->Prepare(UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC)));
  EXPECT_EQ(StatusErrno(prepared.status()), ENOTTY);
  EXPECT_THAT(std::string(prepared.status().message()), HasSubstr("not a live update session"));
  EXPECT_TRUE(Counts(*machine_));
  EXPECT_EQ(update_->Freeze().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Counts(*machine_));
  update_->Cancel();
  EXPECT_TRUE(Counts(*machine_));
  EXPECT_EQ(quiesced_, 0);
  EXPECT_EQ(went_on_, 0);
}

TEST_F(MachineUpdateTest, FreezeWantsAPreparedMachine) {
  EXPECT_EQ(update_->Freeze().status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_TRUE(Counts(*machine_));
}

TEST_F(MachineUpdateTest, CancelOfNothingDoesNothing) {
  update_->Cancel();
  EXPECT_TRUE(Counts(*machine_));
  EXPECT_EQ(went_on_, 0);
}

TEST_F(MachineUpdateTest, PreparePreservesAllRamWhileTheGuestRuns) {
  WithLuo([&] {
    const uint64_t missing = update_->MissingBytes();
    EXPECT_GT(missing, 0u);
    EXPECT_LT(missing, kMinMemoryBytes);
    auto reply = update_->Prepare(luo_.NewSession());
    ASSERT_TRUE(reply.ok()) << reply.status();
    EXPECT_EQ(reply->preserved_bytes, kMinMemoryBytes);
    EXPECT_EQ(update_->MissingBytes(), 0u);
    EXPECT_TRUE(Counts(*machine_));
    ASSERT_EQ(luo_.file_count(), 1u);
    const struct stat preserved = StatOf(luo_.File(kFirstRamToken));
    EXPECT_EQ(preserved.st_ino, StatOf(machine_->memory().regions()[0].fd()).st_ino);
    EXPECT_EQ(static_cast<uint64_t>(preserved.st_blocks) * 512, kMinMemoryBytes)
        << "holes are left to the kernel";
    EXPECT_FALSE(luo_.session_closed());
  });
}

TEST_F(MachineUpdateTest, PrepareThatFailsHoldsNothing) {
  WithLuo([&] {
    luo_.Fail(kFirstRamToken, EBUSY);
    EXPECT_EQ(StatusErrno(update_->Prepare(luo_.NewSession()).status()), EBUSY);
    EXPECT_TRUE(luo_.session_closed());
    EXPECT_TRUE(Counts(*machine_));
    update_->Cancel();

    luo_.Fail(kFirstRamToken, 0);
    EXPECT_TRUE(update_->Prepare(luo_.NewSession()).ok()) << "after a cancel all begins anew";
  });
}

TEST_F(MachineUpdateTest, PrepareTwiceKeepsTheFirstSession) {
  WithLuo([&] {
    ASSERT_TRUE(update_->Prepare(luo_.NewSession()).ok());
    int second[2];
    ASSERT_EQ(pipe2(second, O_CLOEXEC), 0);
    const UniqueFd read_end(second[0]);
    EXPECT_EQ(update_->Prepare(UniqueFd(second[1])).status().code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_FALSE(luo_.session_closed());
    EXPECT_TRUE(update_->Freeze().ok());
  });
}

TEST_F(MachineUpdateTest, FreezeStopsTheGuestAndPreservesItsState) {
  WithLuo([&] {
    ASSERT_TRUE(update_->Prepare(luo_.NewSession()).ok());
    auto reply = update_->Freeze();
    ASSERT_TRUE(reply.ok()) << reply.status();
    ExpectStandsStill();
    EXPECT_EQ(quiesced_, 1);
    EXPECT_GT(reply->pause_tsc, 0u);
    const int state_memfd = luo_.File(kStateToken);
    EXPECT_EQ(reply->state_bytes, static_cast<uint64_t>(StatOf(state_memfd).st_size));
    auto state = ReadStateMemfd(state_memfd);
    ASSERT_TRUE(state.ok()) << state.status();
    EXPECT_TRUE(SavedMemoryRanges(*state).ok());
    EXPECT_EQ(update_->Freeze().status().code(), absl::StatusCode::kFailedPrecondition);
    ExpectStandsStill();
  });
}

TEST_F(MachineUpdateTest, AGuestThatHasEndedIsNotFrozen) {
  const struct {
    uint8_t command;
    MachineEnd::Reason reason;
  } kEnds[] = {{'o', MachineEnd::Reason::kPowerOff},
               {'r', MachineEnd::Reason::kReset},
               {'k', MachineEnd::Reason::kReset},
               {'t', MachineEnd::Reason::kTripleFault}};
  for (const auto& end : kEnds) {
    SCOPED_TRACE(end.command);
    TestSurroundings surroundings;
    auto machine = Machine::Boot(surroundings.ConfigWithCommands(""), surroundings.environment());
    ASSERT_TRUE(machine.ok()) << machine.status();
    int quiesced = 0;
    int went_on = 0;
    MachineUpdate update(machine->get(),
                         {.quiesce = [&] { ++quiesced; }, .go_on = [&] { ++went_on; }});
    (*machine)->Resume();
    WithLuo([&] {
      ASSERT_TRUE(update.Prepare(luo_.NewSession()).ok());
      EXPECT_FALSE((*machine)->ended());
      ASSERT_EQ((*machine)->platform().serial().Enqueue({&end.command, 1}), 1u);
      ASSERT_EQ(surroundings.WaitForEnd(), end.reason);
      auto frozen = update.Freeze();
      EXPECT_EQ(frozen.status().code(), absl::StatusCode::kFailedPrecondition);
      EXPECT_THAT(std::string(frozen.status().message()), HasSubstr("the VM has ended"));
      EXPECT_EQ(luo_.File(kStateToken), -1);
      update.Cancel();
      EXPECT_TRUE(luo_.session_closed());
      EXPECT_EQ(quiesced, 0);
      EXPECT_EQ(went_on, 0);
    });
    if (IsSkipped()) return;
  }
}

TEST_F(MachineUpdateTest, CancelLetsAFrozenGuestGoOn) {
  WithLuo([&] {
    for (int i = 1; i <= 3; ++i) {
      ASSERT_TRUE(update_->Prepare(luo_.NewSession()).ok());
      ASSERT_TRUE(update_->Freeze().ok());
      update_->Cancel();
      EXPECT_TRUE(Counts(*machine_));
      EXPECT_TRUE(luo_.session_closed());
      EXPECT_EQ(quiesced_, i);
      EXPECT_EQ(went_on_, i);
    }
  });
}

TEST_F(MachineUpdateTest, CancelAfterAFailedFreezeLetsTheGuestGoOn) {
  WithLuo([&] {
    ASSERT_TRUE(update_->Prepare(luo_.NewSession()).ok());
    luo_.Fail(kStateToken, ENOSPC);
    auto frozen = update_->Freeze();
    EXPECT_EQ(StatusErrno(frozen.status()), ENOSPC);
    EXPECT_THAT(std::string(frozen.status().message()), HasSubstr("token 0"));
    update_->Cancel();
    EXPECT_TRUE(Counts(*machine_));
    EXPECT_TRUE(luo_.session_closed());
    EXPECT_EQ(went_on_, 1);
  });
}

TEST_F(MachineUpdateTest, EndLeavesAFrozenGuestStandingStill) {
  WithLuo([&] {
    ASSERT_TRUE(update_->Prepare(luo_.NewSession()).ok());
    ASSERT_TRUE(update_->Freeze().ok());
    update_->End();
    EXPECT_TRUE(luo_.session_closed());
    ExpectStandsStill();
    EXPECT_EQ(went_on_, 0);
    // What the process does next needs no guest that runs.
    machine_->Pause();
    ExpectStandsStill();
    machine_.reset();
  });
}

TEST_F(MachineUpdateTest, EndOfAPreparedMachineClosesTheSessionAlone) {
  WithLuo([&] {
    ASSERT_TRUE(update_->Prepare(luo_.NewSession()).ok());
    update_->End();
    EXPECT_TRUE(luo_.session_closed());
    EXPECT_TRUE(Counts(*machine_));
    EXPECT_EQ(quiesced_, 0);
    EXPECT_EQ(went_on_, 0);
  });
}

// All of an update but the kexec.
TEST_F(MachineUpdateTest, AFrozenMachineIsRetrievedOnceAndGoesOn) {
  WithLuo([&] {
    UniqueFd outgoing = luo_.NewSession();
    const int luods = fcntl(outgoing.get(), F_DUPFD_CLOEXEC, 0);
    ASSERT_TRUE(update_->Prepare(std::move(outgoing)).ok());
    ASSERT_TRUE(update_->Freeze().ok());
    const uint32_t count = CountOf(*machine_);
    update_.reset();
    machine_.reset();
    ASSERT_FALSE(luo_.session_closed()) << "luod has it still";

    luo::LiveUpdateSession session{UniqueFd(luods)};
    const auto skipped = [](absl::string_view node) { ADD_FAILURE() << node; };
    auto vm = RetrieveVm(session, skipped);
    ASSERT_TRUE(vm.ok()) << vm.status();
    auto config = SavedConfig(vm->state);
    ASSERT_TRUE(config.ok()) << config.status();
    auto machine =
        Machine::Restore(*config, vm->state, std::move(vm->memory), surroundings_.environment());
    ASSERT_TRUE(machine.ok()) << machine.status();
    machine_ = *std::move(machine);
    EXPECT_EQ(CountOf(*machine_), count);
    // Nothing has run yet: whoever failed here may be followed by another.
    EXPECT_TRUE(RetrieveVm(session, skipped).ok());
    ASSERT_EQ(MarkConsumed(vm->state_memfd.get()), absl::OkStatus());
    machine_->Resume();
    EXPECT_TRUE(Counts(*machine_));
    EXPECT_EQ(RetrieveVm(session, skipped).status().code(), absl::StatusCode::kFailedPrecondition);
    EXPECT_EQ(session.Finish(), absl::OkStatus());
    EXPECT_TRUE(Counts(*machine_));
  });
}

}  // namespace
}  // namespace vmm
