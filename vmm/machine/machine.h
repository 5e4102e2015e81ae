// Machine: one VM put together: its memory, its vCPU threads, its devices. Knows nothing of live
// update but how to stand still, say what it is, and be built again from that.
//
//   ASSIGN_OR_RETURN(auto machine, Machine::Boot(config, environment));
//   machine->Resume();                                   // the guest runs
//   ...
//   machine->Pause();
//   ASSIGN_OR_RETURN(Tree state, machine->Save());       // "vmm,machine-v1"
//
//   ASSIGN_OR_RETURN(MachineConfig config, SavedConfig(state));   // another process
//   ASSIGN_OR_RETURN(auto again, Machine::Restore(config, state, std::move(memory), environment));
//   again->Resume();
//
// State tree: config, memory, vm, vcpu@N, and a node per device; vmm/state/FORMAT.md lists them.
//
// Pause, Resume and Save are called by one thread at a time; Environment's functions are called
// from vCPU threads.
#ifndef VMM_MACHINE_MACHINE_H_
#define VMM_MACHINE_MACHINE_H_

#include <atomic>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tree.h"
#include "devices/legacy/reset.h"
#include "guest_memory/guest_memory.h"
#include "vmm/boot/boot_params.h"
#include "vmm/kvm/kvm.h"
#include "vmm/kvm/kvm_vm.h"
#include "vmm/machine/config.h"
#include "vmm/machine/end.h"
#include "vmm/machine/image_files.h"
#include "vmm/machine/platform.h"
#include "vmm/machine/vcpu_thread.h"

namespace vmm {

class Machine : private PowerSink {
 public:
  struct Environment {
    SerialOutput* serial_output = nullptr;    // outlives the machine
    std::function<void(MachineEnd)> on_end;   // from a vCPU's thread; the first call counts
    std::function<void(std::string)> notice;  // something the operator should read, one line
    // Fills fresh RAM before the kernel is loaded into it, and says what more the kernel is told of
    // it; what the loader places (loader.h) overwrites what lies there. Null: nothing. Boot() only.
    std::function<absl::StatusOr<std::vector<SetupData>>(const GuestMemory&)> prepare_memory =
        nullptr;
  };

  // Builds a VM that is about to execute its kernel's first instruction, paused.
  static absl::StatusOr<std::unique_ptr<Machine>> Boot(const MachineConfig& config,
                                                       Environment environment);
  // Builds a VM that is about to go on from `state`, paused. `memory` is its RAM as it was then;
  // `config` is SavedConfig(), with another console or luod where those have moved.
  static absl::StatusOr<std::unique_ptr<Machine>> Restore(const MachineConfig& config,
                                                          const Tree& state, GuestMemory memory,
                                                          Environment environment);
  ~Machine() override;

  // Lets the vCPUs run; returns when each has entered the guest, or is about to.
  void Resume();
  // Returns when no vCPU runs and no exit is half done.
  void Pause();
  // Whether the guest has ended, of itself or by an error; on_end was called, or is about to be.
  // After Pause() the answer stays as it is until Resume(): a guest that does not run cannot end.
  bool ended() const { return ended_; }
  // The whole state but the contents of RAM. The machine must be paused.
  absl::StatusOr<Tree> Save();

  const MachineConfig& config() const { return config_; }
  const GuestMemory& memory() const { return memory_; }
  Platform& platform() { return *platform_; }

 private:
  Machine(MachineConfig config, GuestMemory memory, Environment environment, Kvm kvm, KvmVm vm);

  // Irqchip, memslots, vCPUs: what is the same for a fresh and a restored VM.
  static absl::StatusOr<std::unique_ptr<Machine>> Assemble(const MachineConfig& config, Kvm kvm,
                                                           GuestMemory memory,
                                                           Environment environment);
  void AddVcpu(Vcpu vcpu);
  absl::Status BootDevicesAndVcpus(const ImageFiles& images);
  absl::Status RestoreVcpusAndDevices(const Tree& state);
  void NoteMissingHugePages() const;
  absl::Status StartThreads();
  Platform::Environment PlatformEnvironment();

  void End(MachineEnd why);
  void PowerOff() override;
  void Reset() override;

  const MachineConfig config_;
  const GuestMemory memory_;
  const Environment environment_;
  std::atomic<bool> ended_ = false;
  Kvm kvm_;
  KvmVm vm_;
  std::unique_ptr<Platform> platform_;
  std::vector<std::unique_ptr<VcpuThread>> vcpus_;  // last: threads end before what they use
};

// The base names of the nodes that Save() writes and Restore() knows.
inline constexpr absl::string_view kMachineNodes[] = {
    "config", "memory", "vcpu", "vm", "serial", "power", "reset", "keyboard-reset"};

absl::StatusOr<MachineConfig> SavedConfig(const Tree& state);

// The RAM layout that a state tree tells: ranges in GPA order, checked against what its config asks
// for.
absl::StatusOr<std::vector<GuestRange>> SavedMemoryRanges(const Tree& state);

}  // namespace vmm

#endif  // VMM_MACHINE_MACHINE_H_
