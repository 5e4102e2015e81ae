#include "vmm/kvm/test_guest.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <thread>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "gtest/gtest.h"
#include "vmm/kvm/cpuid.h"
#include "vmm/kvm/guest_clock.h"
#include "vmm/kvm/test_programs.h"
#include "vmm/kvm/vcpu_state.h"
#include "vmm/kvm/vm_state.h"

namespace vmm {
namespace {

// Guest-physical addresses of what Boot() writes.
constexpr uint64_t kPml4 = 0x1000;
constexpr uint64_t kPdpt = 0x2000;
constexpr uint64_t kLowDirectory = 0x3000;   // the first GiB
constexpr uint64_t kHighDirectory = 0x4000;  // the fourth, with IOAPIC and LAPIC
constexpr uint64_t kGdt = 0x5000;
constexpr uint64_t kIdt = 0x6000;
constexpr uint64_t kStackTop = 0x9000;
constexpr uint64_t kProgram = 0x10000;
constexpr uint64_t kHandler = 0x18000;

constexpr uint64_t kIoapic = 0xfec00000;
constexpr IrqchipAddresses kIrqchip = {.tss = 0xfffbd000, .identity_map = 0xfffbc000};

constexpr uint64_t kTable = 0x3;       // present, writable
constexpr uint64_t kLargePage = 0x83;  // and a 2 MiB page
constexpr uint64_t kUncached = 0x10;
constexpr uint16_t kCodeSelector = 0x8;
constexpr uint16_t kDataSelector = 0x10;
constexpr int kHandlerVector = 0x40;

// How long a guest may take to the next port.
constexpr unsigned kPatienceSeconds = 20;

// Lets `signal` interrupt KVM_RUN and do nothing else.
void CatchSignal(int signal) {
  struct sigaction action = {};
  action.sa_handler = [](int) {};
  sigaction(signal, &action, nullptr);
}

template <typename T>
T Must(absl::StatusOr<T> value) {
  if (!value.ok()) {
    ADD_FAILURE() << value.status();
    abort();
  }
  return *std::move(value);
}

std::vector<Vcpu> CreateVcpus(const KvmVm& vm, const GuestRam& ram, uint32_t count) {
  EXPECT_EQ(vm.CreateIrqchip(kIrqchip), absl::OkStatus());
  EXPECT_EQ(vm.SetMemorySlot(0, 0, ram.host_address(), GuestRam::kSize), absl::OkStatus());
  std::vector<Vcpu> vcpus;
  for (uint32_t id = 0; id < count; ++id) vcpus.push_back(Must(vm.CreateVcpu(id)));
  return vcpus;
}

// x87 and SSE state as FXSAVE lays it out (Intel SDM vol. 1, 10.5.1): control words, then a pattern
// in the registers.
void WriteFxArea(const GuestRam& ram) {
  for (size_t i = 0; i < kFxSize; ++i) ram.At<uint8_t>(kFxLoadAddress + i) = 0;
  ram.At<uint16_t>(kFxLoadAddress) = 0x37f;        // FCW: all exceptions masked
  ram.At<uint8_t>(kFxLoadAddress + 4) = 0xff;      // FTW: all in use
  ram.At<uint32_t>(kFxLoadAddress + 24) = 0x1f80;  // MXCSR: all exceptions masked
  for (int st = 0; st < 8; ++st) {
    ram.At<uint64_t>(kFxLoadAddress + 32 + 16 * st) = 0x8000000000000000 + st;
    ram.At<uint16_t>(kFxLoadAddress + 32 + 16 * st + 8) = 0x3fff;  // about 1.0
  }
  for (int xmm = 0; xmm < 16; ++xmm) {
    ram.At<uint64_t>(kFxLoadAddress + 160 + 16 * xmm) = 0x0123456789abcdef + xmm;
    ram.At<uint64_t>(kFxLoadAddress + 160 + 16 * xmm + 8) = 0xfedcba9876543210 + xmm;
  }
}

void WriteTables(const GuestRam& ram) {
  ram.At<uint64_t>(kPml4) = kPdpt | kTable;
  ram.At<uint64_t>(kPdpt) = kLowDirectory | kTable;
  ram.At<uint64_t>(kPdpt + 3 * 8) = kHighDirectory | kTable;
  ram.At<uint64_t>(kLowDirectory) = kLargePage;
  ram.At<uint64_t>(kHighDirectory + (kIoapic >> 21 & 0x1ff) * 8) = kIoapic | kLargePage | kUncached;
  ram.At<uint64_t>(kGdt + kCodeSelector) = 0x00af9b000000ffff;
  ram.At<uint64_t>(kGdt + kDataSelector) = 0x00cf93000000ffff;
  // A 64-bit interrupt gate.
  const uint64_t gate = kIdt + kHandlerVector * 16;
  ram.At<uint64_t>(gate) = (kHandler & 0xffff) | uint64_t{kCodeSelector} << 16 |
                           uint64_t{0x8e00} << 32 | (kHandler >> 16) << 48;
  ram.At<uint64_t>(gate + 8) = 0;
}

void EnterLongMode(kvm_sregs* sregs) {
  sregs->cr0 = 0x80000033;  // PG, NE, ET, MP, PE
  sregs->cr3 = kPml4;
  sregs->cr4 = 0x620;   // PAE, OSFXSR, OSXMMEXCPT
  sregs->efer = 0x500;  // LME, LMA
  sregs->gdt.base = kGdt;
  sregs->gdt.limit = 0x17;
  sregs->idt.base = kIdt;
  sregs->idt.limit = 0xfff;
  kvm_segment data = {};
  data.limit = 0xffffffff;
  data.selector = kDataSelector;
  data.type = 3;
  data.present = 1;
  data.db = 1;
  data.s = 1;
  data.g = 1;
  sregs->ds = sregs->es = sregs->fs = sregs->gs = sregs->ss = data;
  sregs->cs = data;
  sregs->cs.selector = kCodeSelector;
  sregs->cs.type = 11;
  sregs->cs.db = 0;
  sregs->cs.l = 1;
}

}  // namespace

GuestRam::GuestRam() {
  void* mapping = mmap(nullptr, kSize, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (mapping == MAP_FAILED) abort();
  host_address_ = static_cast<uint8_t*>(mapping);
}

GuestRam::~GuestRam() { munmap(host_address_, kSize); }

void GuestRam::Copy(uint64_t address, absl::Span<const uint8_t> bytes) const {
  memcpy(host_address_ + address, bytes.data(), bytes.size());
}

TestVm::TestVm(const Kvm& kvm, const GuestRam& ram, uint32_t vcpus)
    : kvm_(kvm), ram_(ram), vm_(Must(KvmVm::Create(kvm))), vcpus_(CreateVcpus(vm_, ram, vcpus)) {}

void TestVm::Boot(absl::Span<const uint8_t> program) {
  WriteTables(ram_);
  WriteFxArea(ram_);
  ram_.Copy(kProgram, program);
  ram_.Copy(kHandler, HandlerProgram());

  const std::vector<kvm_cpuid_entry2> supported = Must(kvm_.SupportedCpuid());
  for (Vcpu& vcpu : vcpus_) {
    const CpuidTopology topology = {.vcpu_id = vcpu.id(),
                                    .vcpu_count = static_cast<uint32_t>(vcpus_.size())};
    EXPECT_EQ(vcpu.SetCpuid(GuestCpuid(supported, topology)), absl::OkStatus());
  }
  kvm_sregs sregs = Must(vcpu().GetSregs());
  EnterLongMode(&sregs);
  EXPECT_EQ(vcpu().SetSregs(sregs), absl::OkStatus());
  kvm_regs regs = {};
  regs.rip = kProgram;
  regs.rsp = kStackTop;
  regs.rflags = 0x2;
  EXPECT_EQ(vcpu().SetRegs(regs), absl::OkStatus());
}

int TestVm::RunToPort() {
  vcpu().ClearExitRequest();
  CatchSignal(SIGALRM);
  alarm(kPatienceSeconds);
  const absl::StatusOr<RunResult> result = vcpu().Run();
  alarm(0);
  const bool exited = result.ok() && *result == RunResult::kExit;
  if (exited && vcpu().run().exit_reason == KVM_EXIT_IO) return vcpu().run().io.port;
  ADD_FAILURE() << (exited ? absl::StrCat("exit ", vcpu().run().exit_reason) : "no exit")
                << " at rip 0x" << std::hex << Must(vcpu().GetRegs()).rip << " " << result.status();
  return -1;
}

bool TestVm::RunAndInterrupt() {
  CatchSignal(SIGUSR1);
  vcpu().ClearExitRequest();
  const pthread_t runner = pthread_self();
  std::thread interrupter([this, runner] {
    usleep(50'000);
    vcpu().RequestExit();
    pthread_kill(runner, SIGUSR1);
  });
  const absl::StatusOr<RunResult> result = vcpu().Run();
  interrupter.join();
  return result.ok() && *result == RunResult::kInterrupted;
}

Tree TestVm::Save() const {
  const std::vector<uint32_t> msrs = Must(kvm_.SavableMsrs());
  Tree state;
  Tree vm_node = Must(SaveVm(vm_));
  for (const Vcpu& vcpu : vcpus_) state.AddChild(Must(SaveVcpu(vcpu, msrs)));
  state.AddChild(std::move(vm_node));
  return state;
}

absl::StatusOr<std::vector<std::string>> TestVm::Restore(const Tree& state) {
  ASSIGN_OR_RETURN(const Tree* vm_node, state.Child("vm"));
  ASSIGN_OR_RETURN(SavedClock saved, SavedClockOf(*vm_node));
  const ContinuedClock clock = ContinueClock(saved, HostTime::Now());
  std::vector<std::string> all_warnings;
  for (Vcpu& vcpu : vcpus_) {
    ASSIGN_OR_RETURN(const Tree* node, state.Child(absl::StrCat("vcpu@", absl::Hex(vcpu.id()))));
    ASSIGN_OR_RETURN(std::vector<std::string> warnings,
                     RestoreVcpu(vcpu, *node, clock.tsc_offset_delta));
    all_warnings.insert(all_warnings.end(), warnings.begin(), warnings.end());
  }
  RETURN_IF_ERROR(RestoreVm(vm_, *vm_node, clock));
  return all_warnings;
}

}  // namespace vmm
