#include "vmm/kvm/kvm_vm.h"

#include <linux/kvm.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/kvm/ioctl.h"

namespace vmm {
namespace {

absl::Status EnableCapability(int vm_fd, uint32_t capability, uint64_t argument) {
  kvm_enable_cap enable = {};
  enable.cap = capability;
  enable.args[0] = argument;
  return VMM_KVM_IOCTL(vm_fd, KVM_ENABLE_CAP, &enable).status();
}

}  // namespace

absl::StatusOr<KvmVm> KvmVm::Create(const Kvm& kvm) {
  ASSIGN_OR_RETURN(int raw_fd, VMM_KVM_IOCTL(kvm.fd(), KVM_CREATE_VM, 0));
  UniqueFd fd(raw_fd);
  RETURN_IF_ERROR(EnableCapability(fd.get(), KVM_CAP_EXCEPTION_PAYLOAD, 1));
  RETURN_IF_ERROR(EnableCapability(fd.get(), KVM_CAP_X86_TRIPLE_FAULT_EVENT, 1));
  if (ioctl(fd.get(), KVM_CHECK_EXTENSION, KVM_CAP_PMU_CAPABILITY) > 0) {
    RETURN_IF_ERROR(EnableCapability(fd.get(), KVM_CAP_PMU_CAPABILITY, KVM_PMU_CAP_DISABLE));
  }
  ASSIGN_OR_RETURN(int xsave_size, VMM_KVM_IOCTL(fd.get(), KVM_CHECK_EXTENSION, KVM_CAP_XSAVE2));
  return KvmVm(std::move(fd), kvm.vcpu_mapping_size(), xsave_size);
}

absl::Status KvmVm::CreateIrqchip(const IrqchipAddresses& addresses) const {
  RETURN_IF_ERROR(VMM_KVM_IOCTL(fd(), KVM_SET_TSS_ADDR, addresses.tss).status());
  RETURN_IF_ERROR(VMM_KVM_IOCTL(fd(), KVM_SET_IDENTITY_MAP_ADDR, &addresses.identity_map).status());
  RETURN_IF_ERROR(VMM_KVM_IOCTL(fd(), KVM_CREATE_IRQCHIP, 0).status());
  // Port 0x61, through which a guest calibrates its TSC, is answered by the kernel with the PIT.
  kvm_pit_config pit = {};
  pit.flags = KVM_PIT_SPEAKER_DUMMY;
  RETURN_IF_ERROR(VMM_KVM_IOCTL(fd(), KVM_CREATE_PIT2, &pit).status());
  return RouteAsOnAPc();
}

// As KVM's default, but for the timer: ISA IRQ 0 reaches the IOAPIC's input 2 on a PC
// (MultiProcessor Specification 1.4, table 4-9), and guests believe the ACPI tables that say so.
absl::Status KvmVm::RouteAsOnAPc() const {
  constexpr uint32_t kIoApicInputs = 24;
  constexpr uint32_t kPicInputs = 8;
  constexpr uint32_t kCascade = 2;  // where the second PIC sits on the first
  struct {
    kvm_irq_routing header;
    kvm_irq_routing_entry entries[kIoApicInputs + 2 * kPicInputs];
  } table = {};
  const auto add = [&table](uint32_t gsi, uint32_t chip, uint32_t pin) {
    kvm_irq_routing_entry& entry = table.entries[table.header.nr++];
    entry.gsi = gsi;
    entry.type = KVM_IRQ_ROUTING_IRQCHIP;
    entry.u.irqchip.irqchip = chip;
    entry.u.irqchip.pin = pin;
  };
  for (uint32_t gsi = 0; gsi < kIoApicInputs; ++gsi) {
    if (gsi == kCascade) continue;
    if (gsi < kPicInputs) add(gsi, KVM_IRQCHIP_PIC_MASTER, gsi);
    if (gsi >= kPicInputs && gsi < 2 * kPicInputs) {
      add(gsi, KVM_IRQCHIP_PIC_SLAVE, gsi - kPicInputs);
    }
    add(gsi, KVM_IRQCHIP_IOAPIC, gsi == 0 ? 2 : gsi);
  }
  return VMM_KVM_IOCTL(fd(), KVM_SET_GSI_ROUTING, &table).status();
}

absl::Status KvmVm::SetMemorySlot(uint32_t slot, uint64_t guest_address, void* host_address,
                                  uint64_t size) const {
  kvm_userspace_memory_region region = {};
  region.slot = slot;
  region.guest_phys_addr = guest_address;
  region.memory_size = size;
  region.userspace_addr = reinterpret_cast<uintptr_t>(host_address);
  return Annotate(VMM_KVM_IOCTL(fd(), KVM_SET_USER_MEMORY_REGION, &region).status(),
                  absl::StrCat("memory slot ", slot));
}

absl::StatusOr<Vcpu> KvmVm::CreateVcpu(uint32_t id) const {
  absl::StatusOr<int> vcpu_fd = VMM_KVM_IOCTL(fd(), KVM_CREATE_VCPU, id);
  if (!vcpu_fd.ok()) return Annotate(vcpu_fd.status(), absl::StrCat("vCPU ", id));
  return Vcpu::FromFd(id, UniqueFd(*vcpu_fd), vcpu_mapping_size_, xsave_size_);
}

absl::Status KvmVm::SetIrqLine(uint32_t gsi, bool asserted) const {
  kvm_irq_level level = {};
  level.irq = gsi;
  level.level = asserted;
  return VMM_KVM_IOCTL(fd(), KVM_IRQ_LINE, &level).status();
}

}  // namespace vmm
