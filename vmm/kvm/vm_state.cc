#include "vmm/kvm/vm_state.h"

#include <linux/kvm.h>
#include <stdint.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/kvm/ioctl.h"

namespace vmm {
namespace {

constexpr absl::string_view kCompatible = "vmm,kvm-vm-v1";

static_assert(sizeof(kvm_irqchip) == 520);
static_assert(sizeof(kvm_pit_state2) == 112);

struct Chip {
  const char* property;
  uint32_t id;
};
constexpr Chip kChips[] = {
    {"pic-master", KVM_IRQCHIP_PIC_MASTER},
    {"pic-slave", KVM_IRQCHIP_PIC_SLAVE},
    {"ioapic", KVM_IRQCHIP_IOAPIC},
};

absl::Status CheckCompatible(const Tree& node) {
  ASSIGN_OR_RETURN(std::string compatible, node.GetString("compatible"));
  if (compatible == kCompatible) return absl::OkStatus();
  return absl::InvalidArgumentError(
      absl::StrCat("the VM's state is \"", compatible, "\"; this version reads ", kCompatible));
}

}  // namespace

absl::StatusOr<Tree> SaveVm(const KvmVm& vm) {
  Tree node("vm");
  node.SetString("compatible", kCompatible);
  for (const Chip& chip : kChips) {
    kvm_irqchip state = {};
    state.chip_id = chip.id;
    RETURN_IF_ERROR(KvmIoctl(vm.fd(), KVM_GET_IRQCHIP, chip.property, &state).status());
    node.SetStruct(chip.property, state);
  }
  kvm_pit_state2 pit = {};
  RETURN_IF_ERROR(VMM_KVM_IOCTL(vm.fd(), KVM_GET_PIT2, &pit).status());
  node.SetStruct("pit", pit);
  ASSIGN_OR_RETURN(SavedClock clock, ReadClock(vm));
  node.SetU64("kvmclock-ns", clock.kvmclock_ns);
  node.SetU64("host-tsc", clock.host.tsc);
  node.SetU64("host-realtime-ns", clock.host.realtime_ns);
  node.SetU32("tsc-khz", clock.tsc_khz);
  return node;
}

absl::StatusOr<SavedClock> SavedClockOf(const Tree& node) {
  RETURN_IF_ERROR(CheckCompatible(node));
  SavedClock clock;
  ASSIGN_OR_RETURN(clock.kvmclock_ns, node.GetU64("kvmclock-ns"));
  ASSIGN_OR_RETURN(clock.host.tsc, node.GetU64("host-tsc"));
  ASSIGN_OR_RETURN(clock.host.realtime_ns, node.GetU64("host-realtime-ns"));
  ASSIGN_OR_RETURN(clock.tsc_khz, node.GetU32("tsc-khz"));
  if (clock.tsc_khz == 0) return absl::InvalidArgumentError("the saved VM's tsc-khz is 0");
  return clock;
}

absl::Status RestoreVm(const KvmVm& vm, const Tree& node, const ContinuedClock& clock) {
  RETURN_IF_ERROR(CheckCompatible(node));
  for (const Chip& chip : kChips) {
    ASSIGN_OR_RETURN(kvm_irqchip state, node.GetStruct<kvm_irqchip>(chip.property));
    if (state.chip_id != chip.id) {
      return absl::InvalidArgumentError(
          absl::StrCat("the saved ", chip.property, " is of chip ", state.chip_id));
    }
    RETURN_IF_ERROR(KvmIoctl(vm.fd(), KVM_SET_IRQCHIP, chip.property, &state).status());
  }
  ASSIGN_OR_RETURN(kvm_pit_state2 pit, node.GetStruct<kvm_pit_state2>("pit"));
  RETURN_IF_ERROR(VMM_KVM_IOCTL(vm.fd(), KVM_SET_PIT2, &pit).status());
  return SetClock(vm, clock);
}

}  // namespace vmm
