#include "vmm/machine/machine.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/boot/loader.h"
#include "vmm/boot/platform.h"
#include "vmm/boot/vcpu_setup.h"
#include "vmm/kvm/cpuid.h"
#include "vmm/kvm/cpuid_check.h"
#include "vmm/kvm/guest_clock.h"
#include "vmm/kvm/vcpu_state.h"
#include "vmm/kvm/vm_state.h"
#include "vmm/machine/image_files.h"
#include "vmm/state/state_schema.h"

namespace vmm {
namespace {

constexpr absl::string_view kMemoryCompatible = "vmm,memory-v1";

Tree SaveMemoryLayout(const GuestMemory& memory) {
  Tree node("memory");
  node.SetString("compatible", kMemoryCompatible);
  for (const MemfdRegion& region : memory.regions()) {
    const GuestRange range = region.range();
    Tree& child = node.AddChild(Tree(absl::StrCat("region@", absl::Hex(range.start.value()))));
    child.SetU64("start", range.start.value());
    child.SetU64("size", range.size);
  }
  return node;
}

}  // namespace

absl::StatusOr<MachineConfig> SavedConfig(const Tree& state) {
  ASSIGN_OR_RETURN(const Tree* node, state.Child("config"));
  return MachineConfig::Restore(*node);
}

absl::StatusOr<std::vector<GuestRange>> SavedMemoryRanges(const Tree& state) {
  ASSIGN_OR_RETURN(MachineConfig config, SavedConfig(state));
  ASSIGN_OR_RETURN(const Tree* node, state.Child("memory"));
  ASSIGN_OR_RETURN(std::string compatible, node->GetString("compatible"));
  if (compatible != kMemoryCompatible) {
    return absl::InvalidArgumentError(absl::StrCat("unknown memory \"", compatible, "\""));
  }
  std::vector<GuestRange> ranges;
  for (const Tree& child : node->children()) {
    ASSIGN_OR_RETURN(uint64_t start, child.GetU64("start"));
    ASSIGN_OR_RETURN(uint64_t size, child.GetU64("size"));
    ranges.push_back({GuestAddress(start), size});
  }
  ASSIGN_OR_RETURN(std::vector<GuestRange> expected, SplitGuestRam(config.memory_bytes));
  if (ranges != expected) {
    return absl::InvalidArgumentError("the saved memory layout is not that of the saved config");
  }
  return ranges;
}

Machine::Machine(MachineConfig config, GuestMemory memory, Environment environment, Kvm kvm,
                 KvmVm vm)
    : config_(std::move(config)),
      memory_(std::move(memory)),
      environment_(std::move(environment)),
      kvm_(std::move(kvm)),
      vm_(std::move(vm)) {}

Machine::~Machine() = default;

absl::StatusOr<std::unique_ptr<Machine>> Machine::Assemble(const MachineConfig& config, Kvm kvm,
                                                           GuestMemory memory,
                                                           Environment environment) {
  if (config.vcpus > kvm.MaxVcpus()) {
    return absl::InvalidArgumentError(absl::StrCat(
        "--cpus ", config.vcpus, ": this host's KVM has ", kvm.MaxVcpus(), " for a VM at most"));
  }
  ASSIGN_OR_RETURN(KvmVm vm, KvmVm::Create(kvm));
  std::unique_ptr<Machine> machine(new Machine(config, std::move(memory), std::move(environment),
                                               std::move(kvm), std::move(vm)));
  RETURN_IF_ERROR(machine->vm_.CreateIrqchip({.tss = static_cast<uint32_t>(kKvmTssAddress.value()),
                                              .identity_map = kKvmIdentityMapAddress.value()}));
  uint32_t slot = 0;
  for (const MemfdRegion& region : machine->memory_.regions()) {
    RETURN_IF_ERROR(machine->vm_.SetMemorySlot(slot++, region.range().start.value(),
                                               region.host_address(), region.range().size));
  }
  for (uint32_t id = 0; id < config.vcpus; ++id) {
    ASSIGN_OR_RETURN(Vcpu vcpu, machine->vm_.CreateVcpu(id));
    machine->AddVcpu(std::move(vcpu));
  }
  return machine;
}

void Machine::AddVcpu(Vcpu vcpu) {
  vcpus_.push_back(std::make_unique<VcpuThread>(std::move(vcpu),
                                                [this](MachineEnd why) { End(std::move(why)); }));
}

absl::StatusOr<std::unique_ptr<Machine>> Machine::Boot(const MachineConfig& config,
                                                       Environment environment) {
  RETURN_IF_ERROR(config.Validate());
  // What is cheap to refuse comes before gigabytes are touched.
  ASSIGN_OR_RETURN(Kvm kvm, Kvm::Open());
  ASSIGN_OR_RETURN(ImageFiles images, ImageFiles::Open(config));
  ASSIGN_OR_RETURN(GuestMemory memory, GuestMemory::Create({.size = config.memory_bytes,
                                                            .huge_pages = config.huge_pages}));
  ASSIGN_OR_RETURN(std::unique_ptr<Machine> machine,
                   Assemble(config, std::move(kvm), std::move(memory), std::move(environment)));
  RETURN_IF_ERROR(machine->BootDevicesAndVcpus(images));
  machine->NoteMissingHugePages();
  RETURN_IF_ERROR(machine->StartThreads());
  return machine;
}

// Of one region: all have the same reason.
void Machine::NoteMissingHugePages() const {
  const std::string& note = memory_.regions().front().huge_pages_note();
  if (!note.empty()) environment_.notice(note);
}

absl::Status Machine::BootDevicesAndVcpus(const ImageFiles& images) {
  ASSIGN_OR_RETURN(platform_, Platform::Create(PlatformEnvironment()));
  std::vector<SetupData> setup_data;
  if (environment_.prepare_memory != nullptr) {
    ASSIGN_OR_RETURN(setup_data, environment_.prepare_memory(memory_));
  }
  ASSIGN_OR_RETURN(BootEntry entry,
                   LoadGuest(memory_, {.kernel_fd = images.kernel.get(),
                                       .initrd_fd = images.initramfs.get(),
                                       .command_line = config_.command_line,
                                       .vcpu_count = static_cast<int>(config_.vcpus),
                                       .setup_data = std::move(setup_data)}));
  ASSIGN_OR_RETURN(std::vector<kvm_cpuid_entry2> supported, kvm_.SupportedCpuid());
  for (auto& thread : vcpus_) {
    Vcpu& vcpu = thread->vcpu();
    RETURN_IF_ERROR(
        vcpu.SetCpuid(GuestCpuid(supported, {.vcpu_id = vcpu.id(), .vcpu_count = config_.vcpus})));
  }
  Vcpu& boot_vcpu = vcpus_.front()->vcpu();
  ASSIGN_OR_RETURN(kvm_regs regs, boot_vcpu.GetRegs());
  ASSIGN_OR_RETURN(kvm_sregs sregs, boot_vcpu.GetSregs());
  RETURN_IF_ERROR(SetUpBootVcpu(memory_, entry, &regs, &sregs));
  RETURN_IF_ERROR(boot_vcpu.SetSregs(sregs));
  return boot_vcpu.SetRegs(regs);
}

absl::StatusOr<std::unique_ptr<Machine>> Machine::Restore(const MachineConfig& config,
                                                          const Tree& state, GuestMemory memory,
                                                          Environment environment) {
  ASSIGN_OR_RETURN(Kvm kvm, Kvm::Open());
  ASSIGN_OR_RETURN(std::unique_ptr<Machine> machine,
                   Assemble(config, std::move(kvm), std::move(memory), std::move(environment)));
  RETURN_IF_ERROR(machine->RestoreVcpusAndDevices(state));
  RETURN_IF_ERROR(machine->StartThreads());
  return machine;
}

absl::Status Machine::RestoreVcpusAndDevices(const Tree& state) {
  const size_t saved_vcpus =
      std::count_if(state.children().begin(), state.children().end(),
                    [](const Tree& node) { return node.base_name() == "vcpu"; });
  if (saved_vcpus > vcpus_.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the saved state is of ", saved_vcpus,
                                                   " vCPUs, its config asks for ", vcpus_.size()));
  }
  ASSIGN_OR_RETURN(const Tree* vm_node, state.Child("vm"));
  ASSIGN_OR_RETURN(SavedClock saved_clock, SavedClockOf(*vm_node));
  const ContinuedClock clock = ContinueClock(saved_clock, HostTime::Now());
  if (clock.source != ElapsedSource::kTsc) {
    environment_.notice("the host's TSC did not go on over the update; guest time is approximate");
  }
  ASSIGN_OR_RETURN(std::vector<kvm_cpuid_entry2> supported, kvm_.SupportedCpuid());
  for (auto& thread : vcpus_) {
    const std::string name = absl::StrCat("vcpu@", absl::Hex(thread->vcpu().id()));
    ASSIGN_OR_RETURN(const Tree* node, state.Child(name));
    ASSIGN_OR_RETURN(std::vector<kvm_cpuid_entry2> recorded, SavedCpuid(*node));
    RETURN_IF_ERROR(Annotate(CheckCpuidOffered(recorded, supported), name));
    ASSIGN_OR_RETURN(std::vector<std::string> warnings,
                     RestoreVcpu(thread->vcpu(), *node, clock.tsc_offset_delta));
    for (const std::string& warning : warnings) {
      environment_.notice(absl::StrCat(name, ": ", warning));
    }
  }
  RETURN_IF_ERROR(RestoreVm(vm_, *vm_node, clock));
  // Last: a device with an interrupt pending raises it now, into controllers that are all there.
  ASSIGN_OR_RETURN(platform_, Platform::Restore(state, PlatformEnvironment()));
  return absl::OkStatus();
}

absl::StatusOr<Tree> Machine::Save() {
  Tree state;
  state.SetString("compatible", kMachineCompatible);
  state.AddChild(config_.Save());
  state.AddChild(SaveMemoryLayout(memory_));
  ASSIGN_OR_RETURN(std::vector<uint32_t> msrs, kvm_.SavableMsrs());
  // In the direction in which an interrupt travels while this goes on, for the power button may be
  // pressed even now: IOAPIC, LAPICs, and last the devices, which raise their lines again when they
  // are restored. An interrupt that the IOAPIC has sent is then in a saved LAPIC as well; the other
  // way round the IOAPIC would wait for ever for the EOI of one that no LAPIC has.
  ASSIGN_OR_RETURN(Tree vm_node, SaveVm(vm_));
  for (auto& thread : vcpus_) {
    ASSIGN_OR_RETURN(Tree node, SaveVcpu(thread->vcpu(), msrs));
    state.AddChild(std::move(node));
  }
  state.AddChild(std::move(vm_node));
  platform_->Save(state);
  return state;
}

absl::Status Machine::StartThreads() {
  // KVM makes a thread of its own in a VM's first KVM_RUN (Linux 7.3, kvm_mmu_post_init_vm()): in
  // one that does not enter the guest, so that a host without room for it is found out now.
  RETURN_IF_ERROR(vcpus_.front()->vcpu().CompletePendingExit().status());
  for (auto& thread : vcpus_) {
    RETURN_IF_ERROR(thread->Start(&platform_->pio(), &platform_->mmio()));
  }
  return absl::OkStatus();
}

void Machine::Resume() {
  for (auto& thread : vcpus_) {
    // Costs the guest a soft-lockup warning at worst: no reason to keep it from running.
    if (absl::Status status = thread->vcpu().NotifyPaused(); !status.ok()) {
      environment_.notice(std::string(status.message()));
    }
  }
  for (auto& thread : vcpus_) thread->Resume();
  for (auto& thread : vcpus_) thread->WaitUntilRunning();
}

void Machine::Pause() {
  for (auto& thread : vcpus_) thread->RequestPause();
  for (auto& thread : vcpus_) thread->WaitUntilPaused();
}

Platform::Environment Machine::PlatformEnvironment() {
  return {.vm = &vm_, .serial_output = environment_.serial_output, .power = this};
}

// In this order: whoever was told of the end finds that the machine has ended.
void Machine::End(MachineEnd why) {
  ended_ = true;
  environment_.on_end(std::move(why));
}

void Machine::PowerOff() { End({MachineEnd::Reason::kPowerOff, "power-off"}); }

void Machine::Reset() { End({MachineEnd::Reason::kReset, "reset"}); }

}  // namespace vmm
