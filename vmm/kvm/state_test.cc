// vCPU and VM state together, as a live update uses them: saved, thrown away, restored over the
// same memory in a new VM.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "absl/types/span.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/kvm/cpuid_check.h"
#include "vmm/kvm/test_guest.h"
#include "vmm/kvm/test_programs.h"
#include "vmm/kvm/vcpu_state.h"
#include "vmm/kvm/vm_state.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;

// ST0 to ST7 and XMM0 to XMM15 within an FXSAVE area.
constexpr size_t kFxRegisters = 32;
constexpr size_t kFxRegistersSize = 8 * 16 + 16 * 16;

// Of two saved vCPUs, what differs. The TSC offset may differ by a second's ticks: where the host's
// TSC is unstable KVM itself moves it.
std::vector<std::string> Differences(const Tree& before, const Tree& after) {
  std::vector<std::string> names;
  EXPECT_EQ(before.properties().size(), after.properties().size());
  for (const auto& [name, value] : before.properties()) {
    if (name == "tsc-offset") {
      const int64_t difference = *after.GetU64(name) - *before.GetU64(name);
      if (std::abs(difference) > int64_t{*before.GetU32("tsc-khz")} * 1000) names.push_back(name);
    } else if (*after.GetBytes(name) != absl::MakeConstSpan(value)) {
      names.push_back(name);
    }
  }
  return names;
}

class StateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    kvm_ = Kvm::Open();
    if (!kvm_.ok()) GTEST_SKIP() << kvm_.status();
    vm_ = std::make_unique<TestVm>(*kvm_, ram_, 1);
  }

  // Saves as bytes, destroys the VM, restores those bytes in another.
  void Update() {
    const Tree state = vm_->Save();
    const uint32_t vcpus = state.children().size() - 1;
    vm_.reset();
    const auto bytes = EncodeTree(state);
    ASSERT_TRUE(bytes.ok()) << bytes.status();
    const auto decoded = DecodeTree(*bytes);
    ASSERT_TRUE(decoded.ok()) << decoded.status();
    vm_ = std::make_unique<TestVm>(*kvm_, ram_, vcpus);
    const auto warnings = vm_->Restore(*decoded);
    ASSERT_TRUE(warnings.ok()) << warnings.status();
    EXPECT_THAT(*warnings, IsEmpty());
  }

  absl::StatusOr<Kvm> kvm_ = absl::UnknownError("not opened");
  GuestRam ram_;
  std::unique_ptr<TestVm> vm_;
};

TEST_F(StateTest, ACountingGuestGoesOnWithAllItsRegisters) {
  vm_->Boot(CountProgram());
  ASSERT_EQ(vm_->RunToPort(), kReadyPort);
  // A busy machine may need more than one slice to get it anywhere.
  while (vm_->vcpu().GetRegs()->rbx == 0) ASSERT_TRUE(vm_->RunAndInterrupt());
  const uint64_t count = vm_->vcpu().GetRegs()->rbx;
  ASSERT_NO_FATAL_FAILURE(Update());

  EXPECT_EQ(vm_->vcpu().GetRegs()->rbx, count);
  while (vm_->vcpu().GetRegs()->rbx == count) ASSERT_TRUE(vm_->RunAndInterrupt());
  volatile CountReport& report = ram_.At<CountReport>(kReportAddress);
  report.stop = 1;
  ASSERT_EQ(vm_->RunToPort(), kDonePort);
  EXPECT_GT(report.count, count);
  EXPECT_EQ(report.r15, 0x1111222233334444u);
  EXPECT_EQ(memcmp(ram_.host_address() + kFxLoadAddress + kFxRegisters,
                   ram_.host_address() + kFxStoreAddress + kFxRegisters, kFxRegistersSize),
            0);
  EXPECT_EQ(report.kernel_gs_base, 0x0000123456789abcu);
  EXPECT_EQ(report.star, 0x0023001000000000u);
  EXPECT_GT(report.tsc_at_end, report.tsc_at_start);
  // Seconds at most, not the host's uptime.
  EXPECT_LT(report.tsc_at_end - report.tsc_at_start, uint64_t{1} << 40);
}

TEST_F(StateTest, AvxRegistersAreKept) {
  vm_->Boot(AvxProgram());
  const std::vector<kvm_cpuid_entry2>& cpuid = vm_->vcpu().cpuid();
  const bool avx = std::any_of(cpuid.begin(), cpuid.end(), [](const kvm_cpuid_entry2& entry) {
    return entry.function == 1 && (entry.ecx >> 28 & 1);
  });
  if (!avx) GTEST_SKIP() << "this KVM offers no AVX";
  ASSERT_EQ(vm_->RunToPort(), kReadyPort);
  ASSERT_EQ(*vm_->vcpu().CompletePendingExit(), RunResult::kInterrupted);
  ASSERT_NO_FATAL_FAILURE(Update());
  ASSERT_EQ(vm_->RunToPort(), kDonePort);
  EXPECT_EQ(memcmp(ram_.host_address() + kFxLoadAddress, ram_.host_address() + kFxStoreAddress, 32),
            0);
}

TEST_F(StateTest, TheRestoredStateIsTheSavedState) {
  vm_->Boot(CountProgram());
  ASSERT_EQ(vm_->RunToPort(), kReadyPort);
  ASSERT_TRUE(vm_->RunAndInterrupt());
  const Tree before = vm_->Save();
  ASSERT_NO_FATAL_FAILURE(Update());
  const Tree after = vm_->Save();
  EXPECT_THAT(Differences(before.children()[0], after.children()[0]), IsEmpty());
  for (const char* chip : {"pic-master", "pic-slave", "ioapic"}) {
    EXPECT_EQ(*before.children()[1].GetBytes(chip), *after.children()[1].GetBytes(chip)) << chip;
  }
}

TEST_F(StateTest, TheHostOffersWhatItsOwnGuestHasSeen) {
  vm_->Boot(CountProgram());
  const auto recorded = SavedCpuid(vm_->Save().children()[0]);
  ASSERT_TRUE(recorded.ok()) << recorded.status();
  EXPECT_FALSE(recorded->empty());
  EXPECT_EQ(CheckCpuidOffered(*recorded, *kvm_->SupportedCpuid()), absl::OkStatus());
}

TEST_F(StateTest, SavingChangesNothing) {
  vm_->Boot(CountProgram());
  ASSERT_EQ(vm_->RunToPort(), kReadyPort);
  ASSERT_TRUE(vm_->vcpu().CompletePendingExit().ok());
  const Tree first = vm_->Save();
  const Tree second = vm_->Save();
  EXPECT_THAT(Differences(first.children()[0], second.children()[0]), IsEmpty());
}

TEST_F(StateTest, ACompletedPortReadArrives) {
  vm_->Boot(EchoProgram());
  ASSERT_EQ(vm_->RunToPort(), kEchoInPort);
  vm_->vcpu().PioData()[0] = 0xa5;
  ASSERT_EQ(*vm_->vcpu().CompletePendingExit(), RunResult::kInterrupted);
  ASSERT_NO_FATAL_FAILURE(Update());
  ASSERT_EQ(vm_->RunToPort(), kEchoOutPort);
  EXPECT_EQ(vm_->vcpu().PioData()[0], 0xa5);
}

TEST_F(StateTest, AnInterruptPendingInTheLapicIsDelivered) {
  vm_->Boot(InterruptProgram());
  ASSERT_EQ(vm_->RunToPort(), kReadyPort);
  ASSERT_EQ(*vm_->vcpu().CompletePendingExit(), RunResult::kInterrupted);
  ASSERT_EQ(vm_->vm().SetIrqLine(4, true), absl::OkStatus());
  ASSERT_EQ(vm_->vm().SetIrqLine(4, false), absl::OkStatus());
  ASSERT_NO_FATAL_FAILURE(Update());
  EXPECT_EQ(vm_->RunToPort(), kInterruptPort);
}

TEST_F(StateTest, AHaltedVcpuIsWokenThroughTheRestoredIoapic) {
  vm_->Boot(InterruptProgram());
  ASSERT_EQ(vm_->RunToPort(), kReadyPort);
  while (*vm_->Save().children()[0].GetU32("mp-state") != KVM_MP_STATE_HALTED) {
    ASSERT_TRUE(vm_->RunAndInterrupt());
  }
  ASSERT_NO_FATAL_FAILURE(Update());
  ASSERT_EQ(vm_->vm().SetIrqLine(4, true), absl::OkStatus());
  EXPECT_EQ(vm_->RunToPort(), kInterruptPort);
}

TEST_F(StateTest, AnArmedTscDeadlineFires) {
  vm_->Boot(DeadlineProgram());
  ASSERT_EQ(vm_->RunToPort(), kReadyPort);
  ASSERT_EQ(*vm_->vcpu().CompletePendingExit(), RunResult::kInterrupted);
  ASSERT_NO_FATAL_FAILURE(Update());
  EXPECT_EQ(vm_->RunToPort(), kInterruptPort);
}

TEST_F(StateTest, ManyVcpusAreRestored) {
  const uint32_t count = std::min(kvm_->MaxVcpus(), 64u);
  vm_ = std::make_unique<TestVm>(*kvm_, ram_, count);
  vm_->Boot(CountProgram());
  ASSERT_EQ(vm_->RunToPort(), kReadyPort);
  ASSERT_TRUE(vm_->vcpu().CompletePendingExit().ok());
  const Tree before = vm_->Save();
  ASSERT_EQ(before.children().size(), count + 1);
  ASSERT_NO_FATAL_FAILURE(Update());
  const Tree after = vm_->Save();
  for (uint32_t id : {0u, count / 2, count - 1}) {
    EXPECT_THAT(Differences(before.children()[id], after.children()[id]), IsEmpty()) << id;
  }
}

TEST_F(StateTest, TheKvmclockGoesOnByTheTimeAway) {
  vm_->Boot(CountProgram());
  const auto saved = SavedClockOf(vm_->Save().children()[1]);
  ASSERT_TRUE(saved.ok()) << saved.status();
  ASSERT_NO_FATAL_FAILURE(Update());
  const auto restored = SavedClockOf(vm_->Save().children()[1]);
  ASSERT_TRUE(restored.ok()) << restored.status();
  const uint64_t elapsed = (restored->host.tsc - saved->host.tsc) * 1'000'000 / saved->tsc_khz;
  EXPECT_GT(restored->kvmclock_ns, saved->kvmclock_ns);
  EXPECT_NEAR(restored->kvmclock_ns - saved->kvmclock_ns, elapsed, 200e6);
}

TEST_F(StateTest, TheTscOffsetTakesTheDelta) {
  constexpr uint64_t kDelta = uint64_t{1} << 36;
  vm_->Boot(CountProgram());
  const Tree state = vm_->Save();
  const uint64_t offset = *state.children()[0].GetU64("tsc-offset");
  vm_ = std::make_unique<TestVm>(*kvm_, ram_, 1);
  const auto warnings = RestoreVcpu(vm_->vcpu(), state.children()[0], kDelta);
  ASSERT_TRUE(warnings.ok()) << warnings.status();
  if (!warnings->empty()) GTEST_SKIP() << warnings->front();
  const uint64_t restored = *vm_->Save().children()[0].GetU64("tsc-offset");
  EXPECT_NEAR(static_cast<int64_t>(restored - offset), static_cast<int64_t>(kDelta), 4e9);
}

// Restores a guest whose rate was measured `ppm` above what this host's kernel measured. The rate
// it has then tells whether KVM was given the old one.
class TscRateTest : public StateTest {
 protected:
  void RestoreWithRateOff(int ppm) {
    vm_->Boot(CountProgram());
    Tree state = vm_->Save();
    Tree& vcpu = state.mutable_children()[0];
    host_khz_ = *vcpu.GetU32("tsc-khz");
    saved_khz_ = host_khz_ + int64_t{host_khz_} * ppm / 1'000'000;
    vcpu.SetU32("tsc-khz", saved_khz_);
    vm_ = std::make_unique<TestVm>(*kvm_, ram_, 1);
    const auto warnings = vm_->Restore(state);
    ASSERT_TRUE(warnings.ok()) << warnings.status();
    warnings_ = *warnings;
    restored_khz_ = *vm_->Save().children()[0].GetU32("tsc-khz");
  }

  uint32_t host_khz_ = 0;
  uint32_t saved_khz_ = 0;
  uint32_t restored_khz_ = 0;
  std::vector<std::string> warnings_;
};

TEST_F(TscRateTest, ALittleOffIsRecorded) {
  for (int ppm : {200, -200}) {
    ASSERT_NO_FATAL_FAILURE(RestoreWithRateOff(ppm));
    EXPECT_THAT(warnings_, IsEmpty());
    EXPECT_EQ(restored_khz_, saved_khz_);
    vm_ = std::make_unique<TestVm>(*kvm_, ram_, 1);
  }
}

TEST_F(TscRateTest, WhatKvmWouldScaleIsNotSet) {
  for (int ppm : {400, -400}) {
    ASSERT_NO_FATAL_FAILURE(RestoreWithRateOff(ppm));
    ASSERT_EQ(warnings_.size(), 1u);
    EXPECT_THAT(warnings_[0], HasSubstr(std::to_string(saved_khz_) + " kHz"));
    EXPECT_THAT(warnings_[0], HasSubstr(std::to_string(host_khz_) + " kHz"));
    EXPECT_EQ(restored_khz_, host_khz_);
    vm_ = std::make_unique<TestVm>(*kvm_, ram_, 1);
  }
}

// --- What is refused.

class RefusalTest : public StateTest {
 protected:
  void SetUp() override {
    StateTest::SetUp();
    if (IsSkipped()) return;
    vm_->Boot(CountProgram());
    state_ = vm_->Save();
  }

  Tree& vcpu_node() { return state_.mutable_children()[0]; }
  Tree& vm_node() { return state_.mutable_children()[1]; }

  // Restores state_ in a new VM, where it must fail.
  std::string RestoreError() {
    vm_ = std::make_unique<TestVm>(*kvm_, ram_, 1);
    const absl::Status status = vm_->Restore(state_).status();
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  }

  static Tree Without(const Tree& node, absl::string_view property) {
    Tree result(node.name());
    for (const auto& [name, value] : node.properties()) {
      if (name != property) result.SetBytes(name, value);
    }
    return result;
  }

  Tree state_;
};

TEST_F(RefusalTest, EachMissingProperty) {
  const Tree whole = state_;
  for (size_t i = 0; i < whole.children().size(); ++i) {
    for (const auto& [name, value] : whole.children()[i].properties()) {
      if (name == "msrs-unreadable") continue;
      state_ = whole;
      state_.mutable_children()[i] = Without(whole.children()[i], name);
      EXPECT_THAT(RestoreError(), HasSubstr("\"" + name + "\""));
    }
  }
}

TEST_F(RefusalTest, EachPropertyOfAnotherSize) {
  const Tree whole = state_;
  for (size_t i = 0; i < whole.children().size(); ++i) {
    for (const auto& [name, value] : whole.children()[i].properties()) {
      if (name == "msrs-unreadable") continue;
      for (ptrdiff_t change : {-1, 1}) {
        state_ = whole;
        std::vector<uint8_t> bytes = value;
        bytes.resize(bytes.size() + change);
        state_.mutable_children()[i].SetBytes(name, bytes);
        EXPECT_THAT(RestoreError(), HasSubstr(name));
      }
    }
  }
}

TEST_F(RefusalTest, UnknownCompatible) {
  const Tree whole = state_;
  vcpu_node().SetString("compatible", "vmm,kvm-vcpu-v2");
  EXPECT_THAT(RestoreError(), HasSubstr("vmm,kvm-vcpu-v2"));
  state_ = whole;
  vm_node().SetString("compatible", "vmm,kvm-vm-v0");
  EXPECT_THAT(RestoreError(), HasSubstr("vmm,kvm-vm-v0"));
}

TEST_F(RefusalTest, TheStateOfAnotherVcpu) {
  vcpu_node().SetU32("id", 1);
  EXPECT_THAT(RestoreError(), HasSubstr("of vCPU 1, not 0"));
}

TEST_F(RefusalTest, ValuesThatKvmRefuses) {
  const Tree whole = state_;
  vcpu_node().SetU32("mp-state", 77);
  EXPECT_THAT(RestoreError(), HasSubstr("mp-state"));
  state_ = whole;
  std::vector<uint8_t> sregs(sizeof(kvm_sregs2), 0xff);
  vcpu_node().SetBytes("sregs", sregs);
  EXPECT_THAT(RestoreError(), HasSubstr("sregs"));
  state_ = whole;
  kvm_irqchip chip = *vm_node().GetStruct<kvm_irqchip>("ioapic");
  chip.chip_id = KVM_IRQCHIP_PIC_MASTER;
  vm_node().SetStruct("ioapic", chip);
  EXPECT_THAT(RestoreError(), HasSubstr("ioapic"));
  state_ = whole;
  vm_node().SetU32("tsc-khz", 0);
  EXPECT_THAT(RestoreError(), HasSubstr("tsc-khz"));
}

TEST_F(RefusalTest, AnMsrThatThisHostLacksUnlessItWasZero) {
  kvm_msr_entry msr = {};
  msr.index = 0xdeadbeef;
  vcpu_node().SetStruct("msrs", msr);
  vm_ = std::make_unique<TestVm>(*kvm_, ram_, 1);
  EXPECT_EQ(vm_->Restore(state_).status(), absl::OkStatus());
  msr.data = 0x77;
  vcpu_node().SetStruct("msrs", msr);
  EXPECT_THAT(RestoreError(), HasSubstr("MSR 0xdeadbeef = 0x77"));
}

TEST_F(RefusalTest, MoreCpuidEntriesOrMsrsThanCanBe) {
  const Tree whole = state_;
  vcpu_node().SetBytes("cpuid", std::vector<uint8_t>(sizeof(kvm_cpuid_entry2) * 257));
  EXPECT_THAT(RestoreError(), HasSubstr("cpuid"));
  state_ = whole;
  vcpu_node().SetBytes("msrs", std::vector<uint8_t>(sizeof(kvm_msr_entry) * 5000));
  EXPECT_THAT(RestoreError(), HasSubstr("msrs"));
}

TEST_F(RefusalTest, NoFlippedByteCrashes) {
  const Tree whole = state_;
  for (const auto& [name, value] : whole.children()[0].properties()) {
    for (size_t i = 0; i < value.size(); i += std::max<size_t>(1, value.size() / 4)) {
      std::vector<uint8_t> bytes = value;
      bytes[i] ^= 0xff;
      state_ = whole;
      vcpu_node().SetBytes(name, bytes);
      vm_ = std::make_unique<TestVm>(*kvm_, ram_, 1);
      const absl::Status status = vm_->Restore(state_).status();
      EXPECT_TRUE(status.ok() || !status.message().empty()) << name;
    }
  }
}

}  // namespace
}  // namespace vmm
