// The whole VM on real KVM: it boots, prints, ends as the guest asks, stands still and goes on.
#include "vmm/machine/machine.h"

#include <stdint.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/boot/test_images.h"
#include "vmm/boot/test_kernel.h"
#include "vmm/machine/test_machine.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

class MachineTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (absl::Status status = Kvm::Open().status(); !status.ok()) GTEST_SKIP() << status;
  }

  void Boot(const MachineConfig& config) {
    auto machine = Machine::Boot(config, surroundings_.environment());
    ASSERT_TRUE(machine.ok()) << machine.status();
    machine_ = *std::move(machine);
  }
  void BootWithCommands(absl::string_view commands) {
    Boot(surroundings_.ConfigWithCommands(commands));
  }
  absl::Status BootError(const MachineConfig& config) {
    return Machine::Boot(config, surroundings_.environment()).status();
  }

  TestSurroundings surroundings_;
  std::unique_ptr<Machine> machine_;
};

TEST_F(MachineTest, BootsPausedThenRunsAndPrints) {
  ASSERT_NO_FATAL_FAILURE(BootWithCommands("xyz"));
  usleep(20'000);
  EXPECT_EQ(CountOf(*machine_), 0u);
  machine_->Resume();
  EXPECT_EQ(surroundings_.WaitForOutput(6), "up\nxyz");
  EXPECT_TRUE(Counts(*machine_));
  EXPECT_THAT(surroundings_.notices(), IsEmpty());
}

TEST_F(MachineTest, WhoBootsItMayFillItsMemoryFirst) {
  constexpr GuestAddress kThere(32 << 20);
  Machine::Environment environment = surroundings_.environment();
  environment.prepare_memory =
      [&](const GuestMemory& memory) -> absl::StatusOr<std::vector<SetupData>> {
    absl::Status status = memory.Store<uint64_t>(kThere, 42);
    if (!status.ok()) return status;
    return std::vector<SetupData>();
  };
  auto machine = Machine::Boot(surroundings_.ConfigWithCommands(""), environment);
  ASSERT_TRUE(machine.ok()) << machine.status();
  EXPECT_EQ(*(*machine)->memory().Load<uint64_t>(kThere), 42u);

  environment.prepare_memory = [](const GuestMemory&) -> absl::StatusOr<std::vector<SetupData>> {
    return absl::AbortedError("no");
  };
  EXPECT_EQ(Machine::Boot(surroundings_.ConfigWithCommands(""), environment).status(),
            absl::AbortedError("no"));
}

TEST_F(MachineTest, TakesInput) {
  ASSERT_NO_FATAL_FAILURE(BootWithCommands(""));
  machine_->Resume();
  EXPECT_EQ(surroundings_.WaitForOutput(3), "up\n");
  EXPECT_EQ(machine_->platform().serial().Enqueue({'Q'}), 1u);
  EXPECT_EQ(surroundings_.WaitForOutput(4), "up\nQ");
}

TEST_F(MachineTest, AnswersAccessesToNothing) {
  ASSERT_NO_FATAL_FAILURE(BootWithCommands("mi"));
  machine_->Resume();
  EXPECT_EQ(surroundings_.WaitForOutput(5), "up\nmi");
  for (uint64_t offset : {size_t{0}, kBulkSize / 2, kBulkSize - 1}) {
    EXPECT_EQ(*machine_->memory().Load<uint8_t>(GuestAddress(kBulkCopy.value() + offset)), 0xff);
  }
  EXPECT_EQ(*machine_->memory().Load<uint8_t>(GuestAddress(kBulkCopy.value() + kBulkSize)), 0);
}

TEST_F(MachineTest, EndsAsTheGuestAsks) {
  struct {
    const char* commands;
    MachineEnd::Reason reason;
  } kCases[] = {{"o", MachineEnd::Reason::kPowerOff},
                {"r", MachineEnd::Reason::kReset},
                {"k", MachineEnd::Reason::kReset},
                {"t", MachineEnd::Reason::kTripleFault}};
  for (const auto& expected : kCases) {
    TestSurroundings surroundings;
    auto machine = Machine::Boot(surroundings.ConfigWithCommands(expected.commands),
                                 surroundings.environment());
    ASSERT_TRUE(machine.ok()) << machine.status();
    (*machine)->Resume();
    EXPECT_EQ(surroundings.WaitForEnd(), expected.reason) << expected.commands;
    (*machine)->Pause();
    EXPECT_EQ(surroundings.WaitForOutput(3), "up\n");
  }
}

TEST_F(MachineTest, AfterItsEndItCanBePausedResumedAndSaved) {
  ASSERT_NO_FATAL_FAILURE(BootWithCommands("t"));
  machine_->Resume();
  ASSERT_EQ(surroundings_.WaitForEnd(), MachineEnd::Reason::kTripleFault);
  for (int i = 0; i < 3; ++i) {
    machine_->Pause();
    machine_->Resume();
  }
  machine_->Pause();
  EXPECT_TRUE(machine_->Save().ok());
}

TEST_F(MachineTest, PauseStopsTheGuestAndResumeLetsItGoOn) {
  ASSERT_NO_FATAL_FAILURE(BootWithCommands(""));
  machine_->Resume();
  ASSERT_TRUE(Counts(*machine_));
  machine_->Pause();
  const uint32_t count = CountOf(*machine_);
  usleep(50'000);
  EXPECT_EQ(CountOf(*machine_), count);
  machine_->Resume();
  EXPECT_TRUE(Counts(*machine_));
}

TEST_F(MachineTest, PauseAndResumeDoNothingTwice) {
  ASSERT_NO_FATAL_FAILURE(BootWithCommands(""));
  machine_->Pause();
  machine_->Resume();
  machine_->Resume();
  EXPECT_TRUE(Counts(*machine_));
  machine_->Pause();
  machine_->Pause();
  EXPECT_EQ(surroundings_.WaitForOutput(3), "up\n");
}

TEST_F(MachineTest, ThousandPausesLoseNothing) {
  MachineConfig config = surroundings_.ConfigWithCommands("");
  config.vcpus = 2;  // the second waits for its start-up interrupt all the while
  ASSERT_NO_FATAL_FAILURE(Boot(config));
  std::string expected = "up\n";
  for (int i = 0; i < 1000; ++i) {
    machine_->Resume();
    const uint8_t digit = '0' + i % 10;
    if (machine_->platform().serial().Enqueue({&digit, 1}) == 1) expected += digit;
    if (i % 3 == 0) std::this_thread::yield();
    machine_->Pause();
  }
  machine_->Resume();
  EXPECT_EQ(surroundings_.WaitForOutput(expected.size()), expected);
  EXPECT_TRUE(Counts(*machine_));
}

TEST_F(MachineTest, HaltedGuestsCanBePaused) {
  ASSERT_NO_FATAL_FAILURE(BootWithCommands("h"));
  for (int i = 0; i < 3; ++i) {
    machine_->Resume();
    usleep(10'000);
    machine_->Pause();
  }
  EXPECT_EQ(surroundings_.WaitForOutput(3), "up\n");
}

TEST_F(MachineTest, CanBeDestroyedAtAnyTime) {
  for (const char* commands : {"", "h", "b", "bt"}) {
    for (useconds_t delay : {0, 300, 5000}) {
      ASSERT_NO_FATAL_FAILURE(BootWithCommands(commands));
      machine_->Resume();
      usleep(delay);
      machine_.reset();
    }
  }
  ASSERT_NO_FATAL_FAILURE(BootWithCommands(""));  // without ever running
}

TEST_F(MachineTest, StartsApplicationProcessors) {
  constexpr uint32_t kAps = 2;
  MachineConfig config = surroundings_.ConfigWithCommands("a");
  config.vcpus = 1 + kAps;
  ASSERT_NO_FATAL_FAILURE(Boot(config));
  machine_->Resume();
  const auto counter = [this](uint32_t i) {
    return *machine_->memory().Load<uint32_t>(GuestAddress(kTestKernelApCounters.value() + 4 * i));
  };
  ASSERT_TRUE(WaitUntil([&] { return counter(0) == kAps; })) << counter(0) << " started";
  for (uint32_t ap = 1; ap <= kAps; ++ap) {
    EXPECT_TRUE(WaitUntil([&] { return counter(ap) > 0; })) << "AP " << ap;
  }
  machine_->Pause();
  const uint32_t first = counter(1), second = counter(2);
  usleep(20'000);
  EXPECT_EQ(counter(1), first);
  EXPECT_EQ(counter(2), second);
}

// --- What Boot() refuses.

TEST_F(MachineTest, RefusesAConfigThatCannotBe) {
  MachineConfig config = surroundings_.ConfigWithCommands("");
  config.vcpus = 0;
  EXPECT_EQ(BootError(config).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(MachineTest, RefusesImagesThatAreNotThere) {
  MachineConfig config = surroundings_.ConfigWithCommands("");
  config.initramfs = "/nonexistent/initrd";
  EXPECT_THAT(std::string(BootError(config).message()),
              HasSubstr("--initramfs /nonexistent/initrd"));
  config.kernel = "/nonexistent/kernel";
  EXPECT_THAT(std::string(BootError(config).message()), HasSubstr("--kernel /nonexistent/kernel"));
}

TEST_F(MachineTest, RefusesWhatIsNoKernel) {
  const UniqueFd text = FileWith(std::vector<uint8_t>(4096, 'x'));
  MachineConfig config = surroundings_.ConfigWithCommands("");
  config.kernel = "/proc/self/fd/" + std::to_string(text.get());
  EXPECT_EQ(BootError(config).code(), absl::StatusCode::kInvalidArgument);
  config.kernel = "/";
  EXPECT_THAT(std::string(BootError(config).message()), HasSubstr("not a regular file"));
}

}  // namespace
}  // namespace vmm
