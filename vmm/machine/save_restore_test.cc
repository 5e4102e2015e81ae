// A VM saved, thrown away and restored over the same memory, on real KVM; and the states that are
// refused.
#include <linux/kvm.h>
#include <stdint.h>

#include <chrono>
#include <memory>
#include <random>
#include <string>
#include <thread>
#include <utility>

#include "absl/strings/match.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/boot/test_kernel.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/test_machine.h"
#include "vmm/state/state_schema.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;

class SaveRestoreTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (absl::Status status = Kvm::Open().status(); !status.ok()) GTEST_SKIP() << status;
  }

  // A machine that has begun to run, and is paused.
  void Start(absl::string_view commands, uint32_t vcpus = 1) {
    MachineConfig config = surroundings_.ConfigWithCommands(commands);
    config.vcpus = vcpus;
    auto machine = Machine::Boot(config, surroundings_.environment());
    ASSERT_TRUE(machine.ok()) << machine.status();
    machine_ = *std::move(machine);
    machine_->Resume();
    ASSERT_TRUE(Counts(*machine_));
    machine_->Pause();
  }
  void Update() {
    auto machine = SaveAndRestore(std::move(machine_), surroundings_);
    ASSERT_TRUE(machine.ok()) << machine.status();
    machine_ = *std::move(machine);
  }

  Tree Saved() {
    auto state = machine_->Save();
    EXPECT_TRUE(state.ok()) << state.status();
    return state.ok() ? *std::move(state) : Tree();
  }

  TestSurroundings surroundings_;
  std::unique_ptr<Machine> machine_;
};

// What goes on while a guest stands still.
bool IsTime(absl::string_view property) {
  return property == "kvmclock-ns" || property == "host-tsc" || property == "host-realtime-ns" ||
         property == "pit" || property == "guest-nanoseconds";
}

void ExpectSameButForTime(const Tree& a, const Tree& b) {
  ASSERT_EQ(a.children().size(), b.children().size());
  for (size_t i = 0; i < a.children().size(); ++i) {
    const Tree& x = a.children()[i];
    const Tree& y = b.children()[i];
    EXPECT_EQ(x.name(), y.name());
    ASSERT_EQ(x.properties().size(), y.properties().size()) << x.name();
    for (size_t p = 0; p < x.properties().size(); ++p) {
      if (IsTime(x.properties()[p].first)) continue;
      EXPECT_EQ(x.properties()[p], y.properties()[p]) << x.name() << " " << x.properties()[p].first;
    }
  }
}

TEST_F(SaveRestoreTest, SavingChangesNothing) {
  ASSERT_NO_FATAL_FAILURE(Start("", 2));
  const Tree first = Saved();
  ASSERT_NO_FATAL_FAILURE(ExpectSameButForTime(first, Saved()));
  machine_->Resume();
  EXPECT_TRUE(Counts(*machine_));
}

TEST_F(SaveRestoreTest, EveryNodeSavedIsKnown) {
  ASSERT_NO_FATAL_FAILURE(Start("", 2));
  EXPECT_EQ(CheckKnownNodes(Saved(), kMachineNodes,
                            [](absl::string_view node) { ADD_FAILURE() << node; }),
            absl::OkStatus());
}

TEST_F(SaveRestoreTest, TheRestoredMachineIsTheSavedOne) {
  ASSERT_NO_FATAL_FAILURE(Start("", 2));
  const Tree before = Saved();
  const uint32_t count = CountOf(*machine_);
  ASSERT_NO_FATAL_FAILURE(Update());
  EXPECT_EQ(CountOf(*machine_), count) << "restored machines are paused";
  ExpectSameButForTime(before, Saved());
}

TEST_F(SaveRestoreTest, TheGuestGoesOnCountingPrintingAndListening) {
  ASSERT_NO_FATAL_FAILURE(Start(""));
  for (int i = 0; i < 3; ++i) {
    const uint32_t count = CountOf(*machine_);
    ASSERT_NO_FATAL_FAILURE(Update());
    machine_->Resume();
    ASSERT_TRUE(Counts(*machine_));
    EXPECT_GT(CountOf(*machine_), count);
    EXPECT_EQ(machine_->platform().serial().Enqueue({'E'}), 1u);
    EXPECT_EQ(surroundings_.WaitForOutput(4 + i), "up\n" + std::string(i + 1, 'E'));
    machine_->Pause();
  }
  machine_->Resume();
  machine_->platform().serial().Enqueue({'o'});
  EXPECT_EQ(surroundings_.WaitForEnd(), MachineEnd::Reason::kPowerOff);
}

// Input that the guest has not read yet is in the port's state.
TEST_F(SaveRestoreTest, InputWaitingInThePortArrives) {
  ASSERT_NO_FATAL_FAILURE(Start(""));
  EXPECT_EQ(surroundings_.WaitForOutput(3), "up\n");
  EXPECT_EQ(machine_->platform().serial().Enqueue({'W'}), 1u);
  ASSERT_NO_FATAL_FAILURE(Update());
  machine_->Resume();
  EXPECT_EQ(surroundings_.WaitForOutput(4), "up\nW");
}

// Each byte of a stream is read by one `in` and written by one `out`; a pause may fall on any of
// them. None is lost and none done twice.
TEST_F(SaveRestoreTest, PortReadsAndWritesInFlightHappenOnce) {
  constexpr int kUpdates = 40;
  ASSERT_NO_FATAL_FAILURE(Start(""));
  std::string expected = "up\n";
  std::minstd_rand random(1);
  for (int update = 0; update < kUpdates; ++update) {
    machine_->Resume();
    for (int i = 0; i < 20; ++i) {
      const uint8_t byte = 'A' + random() % 26;
      if (machine_->platform().serial().Enqueue({&byte, 1}) == 1) expected += byte;
      const size_t behind = random() % 2;
      const std::string output = surroundings_.WaitForOutput(expected.size() - behind);
      ASSERT_TRUE(absl::StartsWith(expected, output)) << output;
      ASSERT_GE(output.size() + behind, expected.size());
    }
    machine_->Pause();
    ASSERT_NO_FATAL_FAILURE(Update());
  }
  machine_->Resume();
  EXPECT_EQ(surroundings_.WaitForOutput(expected.size()), expected);
}

TEST_F(SaveRestoreTest, AStringOutputInFlightGoesOnWhereItWas) {
  constexpr int kUpdates = 10;
  std::string expected = "up\n";
  ASSERT_NO_FATAL_FAILURE(Start(""));
  EXPECT_EQ(surroundings_.WaitForOutput(expected.size()), expected);
  std::string data(kBulkSize, '\0');
  for (size_t i = 0; i < data.size(); ++i) data[i] = static_cast<char>(i * 7 + i / 256);
  ASSERT_EQ(machine_->memory().Write(kBulkData,
                                     {reinterpret_cast<const uint8_t*>(data.data()), data.size()}),
            absl::OkStatus());
  expected += data;
  machine_->platform().serial().Enqueue({'b'});
  int in_flight = 0;
  for (int update = 1; update <= kUpdates; ++update) {
    machine_->Resume();
    surroundings_.WaitForOutput(kBulkSize * update / (kUpdates + 1));
    machine_->Pause();
    const size_t size = surroundings_.WaitForOutput(0).size();
    in_flight += size < expected.size();
    ASSERT_NO_FATAL_FAILURE(Update());
    EXPECT_EQ(surroundings_.WaitForOutput(0).size(), size) << "printed while paused";
  }
  EXPECT_GT(in_flight, 0);
  machine_->Resume();
  EXPECT_EQ(surroundings_.WaitForOutput(expected.size()), expected);
}

TEST_F(SaveRestoreTest, AStringInputInFlightGoesOnWhereItWas) {
  constexpr int kUpdates = 5;
  ASSERT_NO_FATAL_FAILURE(Start("i"));
  const auto filled = [this](size_t index) {
    return *machine_->memory().Load<uint8_t>(GuestAddress(kBulkCopy.value() + index)) == 0xff;
  };
  for (int update = 1; update <= kUpdates; ++update) {
    machine_->Resume();
    ASSERT_TRUE(WaitUntil([&] { return filled(kBulkSize * update / (kUpdates + 1)); }));
    machine_->Pause();
    ASSERT_NO_FATAL_FAILURE(Update());
  }
  machine_->Resume();
  EXPECT_EQ(surroundings_.WaitForOutput(4), "up\ni");
  for (size_t i = 0; i < kBulkSize; ++i) ASSERT_TRUE(filled(i)) << i;
  EXPECT_FALSE(filled(kBulkSize));
}

TEST_F(SaveRestoreTest, ApplicationProcessorsGoOn) {
  constexpr uint32_t kAps = 2;
  ASSERT_NO_FATAL_FAILURE(Start("a", 1 + kAps));
  const auto counter = [this](uint32_t i) {
    return *machine_->memory().Load<uint32_t>(GuestAddress(kTestKernelApCounters.value() + 4 * i));
  };
  machine_->Resume();
  ASSERT_TRUE(WaitUntil([&] { return counter(1) > 0 && counter(2) > 0; }));
  machine_->Pause();
  ASSERT_NO_FATAL_FAILURE(Update());
  const uint32_t before[] = {counter(0), counter(1), counter(2)};
  machine_->Resume();
  EXPECT_TRUE(WaitUntil([&] { return counter(1) > before[1] && counter(2) > before[2]; }));
  EXPECT_EQ(counter(0), kAps) << "an AP began anew";
}

// Restored while one AP runs and the others still wait for their start-up interrupt.
TEST_F(SaveRestoreTest, ProcessorsNotYetStartedCanStillBeStarted) {
  ASSERT_NO_FATAL_FAILURE(Start("", 3));
  ASSERT_NO_FATAL_FAILURE(Update());
  machine_->Resume();
  machine_->platform().serial().Enqueue({'a'});
  EXPECT_TRUE(
      WaitUntil([&] { return *machine_->memory().Load<uint32_t>(kTestKernelApCounters) == 2; }));
}

TEST_F(SaveRestoreTest, ManyVcpus) {
  ASSERT_NO_FATAL_FAILURE(Start("", 64));
  const Tree before = Saved();
  ASSERT_NO_FATAL_FAILURE(Update());
  ExpectSameButForTime(before, Saved());
  machine_->Resume();
  EXPECT_TRUE(Counts(*machine_));
}

TEST_F(SaveRestoreTest, ThePowerButtonPressedBeforeIsStillPressed) {
  ASSERT_NO_FATAL_FAILURE(Start(""));
  machine_->platform().acpi_power().PressPowerButton();
  ASSERT_NO_FATAL_FAILURE(Update());
  uint8_t status[2];
  ASSERT_TRUE(machine_->platform().pio().Read(0x600, absl::MakeSpan(status)));
  EXPECT_EQ(status[1], 1);  // PWRBTN_STS, bit 8
}

// An SCI that the saved IOAPIC has sent is in the saved LAPIC, or no EOI would ever come for it.
// The guest, whose CPU is made to take it by changing a saved state, stands still: nothing
// acknowledges it. Many vCPUs are long in saving, and the press falls on another moment of it each
// time.
TEST_F(SaveRestoreTest, ThePowerButtonPressedWhileSavingReachesTheGuest) {
  constexpr uint8_t kVector = 0x50;
  constexpr int kSci = 9;
  constexpr int kPresses = 16;
  ASSERT_NO_FATAL_FAILURE(Start("", 64));
  const auto before = std::chrono::steady_clock::now();
  Tree ready = Saved();
  const auto duration = std::chrono::steady_clock::now() - before;
  for (Tree& node : ready.mutable_children()) {
    if (node.name() == "vcpu@0") {
      kvm_lapic_state lapic = *node.GetStruct<kvm_lapic_state>("lapic");
      lapic.regs[0xf1] |= 1;  // the spurious-interrupt vector's APIC software enable, bit 8
      node.SetStruct("lapic", lapic);
    } else if (node.name() == "vm") {
      kvm_irqchip chip = *node.GetStruct<kvm_irqchip>("ioapic");
      auto& entry = chip.chip.ioapic.redirtbl[kSci];
      entry.bits = 0;
      entry.fields.vector = kVector;
      entry.fields.trig_mode = 1;
      node.SetStruct("ioapic", chip);
    } else if (node.name() == "power") {
      node.SetU32("pm1-enable", 1 << 8);
    }
  }
  const MachineConfig config = machine_->config();
  auto memory = SameMemory(machine_->memory());
  ASSERT_TRUE(memory.ok()) << memory.status();
  machine_.reset();
  int sent = 0;
  for (int i = 0; i < kPresses; ++i) {
    auto again = SameMemory(*memory);
    ASSERT_TRUE(again.ok()) << again.status();
    auto machine = Machine::Restore(config, ready, *std::move(again), surroundings_.environment());
    ASSERT_TRUE(machine.ok()) << machine.status();
    machine_ = *std::move(machine);
    std::thread presser([&] {
      std::this_thread::sleep_for(duration * i / kPresses);
      machine_->platform().acpi_power().PressPowerButton();
    });
    const Tree state = Saved();
    presser.join();
    const kvm_irqchip chip = *(*state.Child("vm"))->GetStruct<kvm_irqchip>("ioapic");
    const kvm_lapic_state lapic = *(*state.Child("vcpu@0"))->GetStruct<kvm_lapic_state>("lapic");
    const uint8_t requested = lapic.regs[0x200 + kVector / 32 * 0x10 + kVector % 32 / 8];
    const bool in_lapic = requested >> kVector % 8 & 1;
    if (chip.chip.ioapic.redirtbl[kSci].fields.remote_irr) {
      EXPECT_TRUE(in_lapic) << "pressed at " << i << "/" << kPresses;
    }
    // What was pressed too late for this saving is there in the next.
    const Tree later = Saved();
    const kvm_irqchip now = *(*later.Child("vm"))->GetStruct<kvm_irqchip>("ioapic");
    sent += now.chip.ioapic.redirtbl[kSci].fields.remote_irr;
  }
  EXPECT_EQ(sent, kPresses) << "the button raises no interrupt: this tests nothing";
}

// --- What is refused.

class RefusedStateTest : public SaveRestoreTest {
 protected:
  void SetUp() override {
    SaveRestoreTest::SetUp();
    if (IsSkipped()) return;
    ASSERT_NO_FATAL_FAILURE(Start("", 2));
    state_ = Saved();
  }

  static Tree Without(const Tree& state, absl::string_view child) {
    Tree result;
    for (const auto& [name, value] : state.properties()) result.SetBytes(name, value);
    for (const Tree& node : state.children()) {
      if (node.name() != child) result.AddChild(node);
    }
    return result;
  }
  Tree& Node(absl::string_view name) {
    for (Tree& node : state_.mutable_children()) {
      if (node.name() == name) return node;
    }
    ADD_FAILURE() << "no node " << name;
    return state_;
  }
  std::string RestoreError(const Tree& state) {
    auto memory = SameMemory(machine_->memory());
    EXPECT_TRUE(memory.ok()) << memory.status();
    auto machine = Machine::Restore(machine_->config(), state, *std::move(memory),
                                    surroundings_.environment());
    EXPECT_FALSE(machine.ok());
    return std::string(machine.status().message());
  }

  Tree state_;
};

TEST_F(RefusedStateTest, EachMissingNode) {
  for (const Tree& node : state_.children()) {
    const Tree state = Without(state_, node.name());
    if (node.name() == "config") {
      EXPECT_THAT(std::string(SavedConfig(state).status().message()), HasSubstr(node.name()));
    } else if (node.name() == "memory") {
      EXPECT_THAT(std::string(SavedMemoryRanges(state).status().message()), HasSubstr(node.name()));
    } else {
      EXPECT_THAT(RestoreError(state), HasSubstr(node.name())) << node.name();
    }
  }
  // The machine that gave the state is none the worse.
  machine_->Resume();
  EXPECT_TRUE(Counts(*machine_));
}

TEST_F(RefusedStateTest, MoreVcpusThanTheConfigHas) {
  Tree third = Node("vcpu@1");
  Tree renamed("vcpu@2");
  for (const auto& [name, value] : third.properties()) renamed.SetBytes(name, value);
  state_.AddChild(renamed);
  EXPECT_THAT(RestoreError(state_), HasSubstr("3 vCPUs"));
}

TEST_F(RefusedStateTest, DevicesOfAnotherVersion) {
  for (const char* device : {"serial", "power", "reset", "keyboard-reset", "vm", "vcpu@0"}) {
    const Tree whole = state_;
    Node(device).SetString("compatible", "vmm,other-v9");
    EXPECT_THAT(RestoreError(state_), HasSubstr("vmm,other-v9")) << device;
    state_ = whole;
  }
}

TEST_F(RefusedStateTest, ATamperedMemoryLayout) {
  const auto refused = [this] {
    return SavedMemoryRanges(state_).status().code() == absl::StatusCode::kInvalidArgument;
  };
  ASSERT_TRUE(SavedMemoryRanges(state_).ok());
  const Tree whole = state_;
  const auto region = [this]() -> Tree& { return Node("memory").mutable_children()[0]; };

  region().SetU64("size", kMinMemoryBytes - 4096);
  EXPECT_TRUE(refused());
  region().SetU64("size", uint64_t{1} << 63);
  EXPECT_TRUE(refused());
  state_ = whole;
  region().SetU64("start", uint64_t{2} << 20);
  EXPECT_TRUE(refused());
  state_ = whole;
  Node("memory").AddChild(Tree(region()));
  EXPECT_TRUE(refused()) << "one region twice";
  state_ = whole;
  Node("memory").mutable_children().clear();
  EXPECT_TRUE(refused()) << "no region";
  state_ = whole;
  Node("config").SetU64("memory-bytes", 2 * kMinMemoryBytes);
  EXPECT_TRUE(refused()) << "a config that asks for more";
  state_ = whole;
  Node("config").SetU64("memory-bytes", ~uint64_t{0});
  EXPECT_TRUE(refused()) << "a config that asks for what cannot be";
  state_ = whole;
  Node("memory").SetString("compatible", "vmm,memory-v2");
  EXPECT_TRUE(refused()) << "another version";
  state_ = whole;
  Node("memory").mutable_children()[0] = Tree("region@0");
  EXPECT_EQ(SavedMemoryRanges(state_).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace vmm
