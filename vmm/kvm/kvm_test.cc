#include "vmm/kvm/kvm.h"

#include <algorithm>
#include <string>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/kvm/kvm_vm.h"
#include "vmm/kvm/test_guest.h"
#include "vmm/kvm/test_programs.h"
#include "vmm/kvm/vcpu.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;

TEST(KvmOpenTest, SaysWhatToDoWhereThereIsNone) {
  const absl::Status status = Kvm::Open("/nonexistent/kvm").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(std::string(status.message()), HasSubstr("/nonexistent/kvm not found: load"));
}

TEST(KvmOpenTest, RefusesWhatIsNotKvm) {
  EXPECT_EQ(Kvm::Open("/dev/null").status().message(), "/dev/null is not KVM");
  EXPECT_THAT(std::string(Kvm::Open("/").status().message()), HasSubstr("cannot open /:"));
}

class KvmTest : public ::testing::Test {
 protected:
  void SetUp() override {
    kvm_ = Kvm::Open();
    if (!kvm_.ok()) GTEST_SKIP() << kvm_.status();
  }

  absl::StatusOr<Kvm> kvm_ = absl::UnknownError("not opened");
  GuestRam ram_;
};

TEST_F(KvmTest, ListsWhatItSupports) {
  EXPECT_GE(kvm_->MaxVcpus(), 1u);
  const auto cpuid = kvm_->SupportedCpuid();
  ASSERT_TRUE(cpuid.ok()) << cpuid.status();
  EXPECT_GT(cpuid->size(), 4u);
  EXPECT_EQ((*cpuid)[0].function, 0u);
}

TEST_F(KvmTest, SavableMsrsAreStateAndNotCommands) {
  const auto msrs = kvm_->SavableMsrs();
  ASSERT_TRUE(msrs.ok()) << msrs.status();
  EXPECT_THAT(*msrs, ::testing::Contains(0xc0000102u));  // KERNEL_GS_BASE
  EXPECT_THAT(*msrs, ::testing::Contains(0x2ffu));       // MTRR default type
  EXPECT_THAT(*msrs, ::testing::Not(::testing::Contains(0x10u)));
  EXPECT_THAT(*msrs, ::testing::Not(::testing::Contains(0x4b564d00u)));
  std::vector<uint32_t> sorted = *msrs;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(std::adjacent_find(sorted.begin(), sorted.end()), sorted.end());
}

TEST_F(KvmTest, RunsAProgramThatUsesPorts) {
  TestVm vm(*kvm_, ram_, 1);
  vm.Boot(EchoProgram());
  ASSERT_EQ(vm.RunToPort(), kEchoInPort);
  EXPECT_EQ(vm.vcpu().run().io.direction, KVM_EXIT_IO_IN);
  ASSERT_EQ(vm.vcpu().PioData().size(), 1u);
  vm.vcpu().PioData()[0] = 0x5a;
  ASSERT_EQ(vm.RunToPort(), kEchoOutPort);
  ASSERT_EQ(vm.vcpu().PioData().size(), 1u);
  EXPECT_EQ(vm.vcpu().PioData()[0], 0x5a);
}

TEST_F(KvmTest, APendingPortReadIsCompletedWithoutRunning) {
  TestVm vm(*kvm_, ram_, 1);
  vm.Boot(EchoProgram());
  ASSERT_EQ(vm.RunToPort(), kEchoInPort);
  vm.vcpu().PioData()[0] = 0x5a;
  const uint64_t rip = vm.vcpu().GetRegs()->rip;
  const auto result = vm.vcpu().CompletePendingExit();
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(*result, RunResult::kInterrupted);
  EXPECT_EQ(vm.vcpu().GetRegs()->rax & 0xff, 0x5au);
  EXPECT_EQ(vm.vcpu().GetRegs()->rip, rip + 2);  // past `in`, not past `out`
}

TEST_F(KvmTest, AnExitRequestHoldsUntilCleared) {
  TestVm vm(*kvm_, ram_, 1);
  vm.Boot(EchoProgram());
  vm.vcpu().RequestExit();
  for (int i = 0; i < 2; ++i) {
    const auto result = vm.vcpu().Run();
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(*result, RunResult::kInterrupted);
  }
  EXPECT_EQ(vm.RunToPort(), kEchoInPort);
}

TEST_F(KvmTest, ASignalStopsABusyVcpu) {
  TestVm vm(*kvm_, ram_, 1);
  vm.Boot(CountProgram());
  ASSERT_EQ(vm.RunToPort(), kReadyPort);
  // A busy machine may need more than one slice to get it anywhere.
  while (vm.vcpu().GetRegs()->rbx == 0) ASSERT_TRUE(vm.RunAndInterrupt());
}

TEST_F(KvmTest, AMovedVcpuStaysUsable) {
  auto vm = KvmVm::Create(*kvm_);
  ASSERT_TRUE(vm.ok()) << vm.status();
  auto first = vm->CreateVcpu(0);
  auto second = vm->CreateVcpu(1);
  ASSERT_TRUE(first.ok() && second.ok());
  Vcpu moved = *std::move(first);
  moved = *std::move(second);
  EXPECT_EQ(moved.id(), 1u);
  EXPECT_TRUE(moved.GetRegs().ok());
  EXPECT_EQ(moved.run().immediate_exit, 0);
}

TEST_F(KvmTest, ErrorsNameWhatFailed) {
  auto vm = KvmVm::Create(*kvm_);
  ASSERT_TRUE(vm.ok()) << vm.status();
  ASSERT_TRUE(vm->CreateVcpu(0).ok());
  EXPECT_THAT(std::string(vm->CreateVcpu(0).status().message()), HasSubstr("vCPU 0"));
  EXPECT_THAT(std::string(vm->SetMemorySlot(7, 1, ram_.host_address(), 4096).message()),
              HasSubstr("memory slot 7"));
  EXPECT_THAT(std::string(vm->SetIrqLine(4, true).message()), HasSubstr("KVM_IRQ_LINE"));
  const std::vector<kvm_cpuid_entry2> many(kMaxCpuidEntries + 1);
  EXPECT_EQ(vm->CreateVcpu(1)->SetCpuid(many).code(), absl::StatusCode::kInvalidArgument);
}

TEST_F(KvmTest, CreatesManyVcpus) {
  const uint32_t count = std::min(kvm_->MaxVcpus(), 64u);
  TestVm vm(*kvm_, ram_, count);
  EXPECT_EQ(vm.vcpu(count - 1).id(), count - 1);
}

}  // namespace
}  // namespace vmm
