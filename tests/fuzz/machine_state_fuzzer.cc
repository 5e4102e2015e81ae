// Everything that is made of a frozen machine's state without KVM: config, memory layout, clock,
// CPUID, devices. Who frames it and guards it by a checksum is state_fuzzer's.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"
#include "devices/device.h"
#include "devices/legacy/acpi_power.h"
#include "devices/legacy/fakes.h"
#include "devices/legacy/reset.h"
#include "devices/legacy/serial16550.h"
#include "vmm/kvm/cpuid_check.h"
#include "vmm/kvm/guest_clock.h"
#include "vmm/kvm/vcpu_state.h"
#include "vmm/kvm/vm_state.h"
#include "vmm/machine/config.h"
#include "vmm/machine/machine.h"
#include "vmm/state/state_schema.h"

namespace {

// What a device accepted is what it is, and it works.
template <typename DeviceType>
void Use(const vmm::Tree& node, absl::StatusOr<std::unique_ptr<DeviceType>> device, uint64_t size) {
  if (!device.ok()) return;
  const vmm::Tree saved = (*device)->Save();
  for (const auto& [name, value] : saved.properties()) {
    const absl::StatusOr<absl::Span<const uint8_t>> given = node.GetBytes(name);
    if (!given.ok() || *given != absl::MakeConstSpan(value)) abort();
  }
  for (uint64_t offset = 0; offset < size; ++offset) {
    uint8_t byte = 0;
    (*device)->Read(offset, absl::MakeSpan(&byte, 1));
    (*device)->Write(offset, absl::MakeConstSpan(&byte, 1));
  }
}

void UseDevice(const vmm::Tree& node) {
  vmm::FakeInterruptLine line;
  vmm::FakeSerialOutput output;
  vmm::FakePowerSink power;
  const auto clock = [] { return uint64_t{0}; };
  Use(node, vmm::Serial16550::Restore(node, &line, &output), vmm::Serial16550::kRegisterCount);
  Use(node, vmm::AcpiPower::Restore(node, &power, &line, clock), vmm::AcpiPower::kSize);
  Use(node, vmm::ResetControl::Restore(node, &power), vmm::ResetControl::kSize);
  Use(node, vmm::KeyboardReset::Restore(node, &power), vmm::KeyboardReset::kSize);
}

void UseClock(const vmm::Tree& node) {
  const absl::StatusOr<vmm::SavedClock> saved = vmm::SavedClockOf(node);
  if (!saved.ok()) return;
  const vmm::ContinuedClock clock = vmm::ContinueClock(*saved, vmm::HostTime{1, 1});
  (void)vmm::KvmclockAt(clock, ~uint64_t{0});
}

void UseCpuid(const vmm::Tree& node) {
  const absl::StatusOr<std::vector<kvm_cpuid_entry2>> cpuid = vmm::SavedCpuid(node);
  if (cpuid.ok() && !vmm::CheckCpuidOffered(*cpuid, *cpuid).ok()) abort();
}

void UseConfig(const vmm::Tree& state) {
  const absl::StatusOr<vmm::MachineConfig> config = vmm::SavedConfig(state);
  if (!config.ok()) return;
  const absl::StatusOr<vmm::MachineConfig> again = vmm::MachineConfig::Restore(config->Save());
  if (!again.ok() || again->ToArguments() != config->ToArguments()) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::StatusOr<vmm::Tree> state = vmm::DecodeTree(absl::MakeConstSpan(data, size));
  if (!state.ok()) return 0;
  (void)vmm::CheckKnownNodes(*state, vmm::kMachineNodes, [](absl::string_view) {});
  (void)vmm::SavedMemoryRanges(*state);
  UseConfig(*state);
  for (const vmm::Tree& node : state->children()) {
    UseDevice(node);
    UseClock(node);
    UseCpuid(node);
  }
  return 0;
}
