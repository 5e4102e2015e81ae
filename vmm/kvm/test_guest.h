// A small guest for the tests of vmm/kvm: 2 MiB of RAM that outlives its VMs, so that one VM can be
// saved, thrown away, and its successor restored over the same memory, as in a live update.
//
//   absl::StatusOr<Kvm> kvm = Kvm::Open();
//   if (!kvm.ok()) GTEST_SKIP() << kvm.status();
//   GuestRam ram;
//   TestVm vm(*kvm, ram, 1);
//   vm.Boot(EchoProgram());
//   EXPECT_EQ(vm.RunToPort(), kEchoInPort);
//
// What fails is said by EXPECT or ends the program: tests only.
#ifndef VMM_KVM_TEST_GUEST_H_
#define VMM_KVM_TEST_GUEST_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/kvm_vm.h"
#include "vmm/kvm/vcpu.h"

namespace vmm {

class GuestRam {
 public:
  static constexpr uint64_t kSize = 2 << 20;

  GuestRam();
  ~GuestRam();
  GuestRam(const GuestRam&) = delete;
  GuestRam& operator=(const GuestRam&) = delete;

  uint8_t* host_address() const { return host_address_; }
  template <typename T>
  volatile T& At(uint64_t address) const {
    return *reinterpret_cast<volatile T*>(host_address_ + address);
  }
  void Copy(uint64_t address, absl::Span<const uint8_t> bytes) const;

 private:
  uint8_t* host_address_;
};

class TestVm {
 public:
  // With irqchip, RAM and vCPUs, whose state is that of a reset.
  TestVm(const Kvm& kvm, const GuestRam& ram, uint32_t vcpus);

  const KvmVm& vm() const { return vm_; }
  Vcpu& vcpu(uint32_t id = 0) { return vcpus_[id]; }

  // Writes page tables, GDT, IDT, CountProgram's FXSAVE area and `program` to RAM and gives vCPU 0
  // the CPUID and registers to run it in 64-bit mode.
  void Boot(absl::Span<const uint8_t> program);

  // Runs vCPU 0 until it uses a port; -1 where it does anything else.
  int RunToPort();
  // Lets vCPU 0 run for a while and stops it as a pause does; false when it exited before.
  bool RunAndInterrupt();

  // All of the VM's nodes: "vm" and "vcpu@...".
  Tree Save() const;
  // Gives the warnings.
  absl::StatusOr<std::vector<std::string>> Restore(const Tree& state);

 private:
  const Kvm& kvm_;
  const GuestRam& ram_;
  KvmVm vm_;
  std::vector<Vcpu> vcpus_;
};

}  // namespace vmm

#endif  // VMM_KVM_TEST_GUEST_H_
