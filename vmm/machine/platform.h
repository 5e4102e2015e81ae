// Platform: the devices of one VM on their buses and interrupt lines: COM1, ACPI power, reset.
//
//   ASSIGN_OR_RETURN(auto platform, Platform::Create(environment));
//   vcpu_thread.Start(&platform->pio(), &platform->mmio());
//   platform->Save(state);                                             // a child node per device
//   ASSIGN_OR_RETURN(platform, Platform::Restore(state, environment));
//
// Devices lock themselves; Save() wants the vCPUs paused. Restore() comes after the interrupt
// controllers' state: a device with an interrupt pending raises it.
#ifndef VMM_MACHINE_PLATFORM_H_
#define VMM_MACHINE_PLATFORM_H_

#include <stdint.h>

#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tree.h"
#include "devices/bus.h"
#include "devices/device.h"
#include "devices/legacy/acpi_power.h"
#include "devices/legacy/power_sink.h"
#include "devices/legacy/reset.h"
#include "devices/legacy/serial16550.h"
#include "vmm/kvm/kvm_vm.h"

namespace vmm {

class Platform {
 public:
  // What devices need of the VM; all outlive the platform.
  struct Environment {
    const KvmVm* vm = nullptr;
    SerialOutput* serial_output = nullptr;
    PowerSink* power = nullptr;
  };

  static absl::StatusOr<std::unique_ptr<Platform>> Create(const Environment& environment);
  static absl::StatusOr<std::unique_ptr<Platform>> Restore(const Tree& state,
                                                           const Environment& environment);

  void Save(Tree& state) const;

  const Bus& pio() const { return pio_; }
  // Empty but for what KVM emulates itself; a guest's stray accesses end here.
  const Bus& mmio() const { return mmio_; }
  Serial16550& serial() { return *serial_; }
  AcpiPower& acpi_power() { return *acpi_power_; }

 private:
  // An input of the in-kernel interrupt controllers.
  class GsiLine final : public InterruptLine {
   public:
    GsiLine(const KvmVm* vm, uint32_t gsi) : vm_(vm), gsi_(gsi) {}
    void Set(bool asserted) override;

   private:
    const KvmVm* const vm_;
    const uint32_t gsi_;
  };

  explicit Platform(const KvmVm* vm);
  absl::Status Connect();

  GsiLine serial_line_;
  GsiLine sci_line_;
  std::unique_ptr<Serial16550> serial_;
  std::unique_ptr<AcpiPower> acpi_power_;
  std::unique_ptr<ResetControl> reset_control_;
  std::unique_ptr<KeyboardReset> keyboard_reset_;
  Bus pio_;
  Bus mmio_;
};

}  // namespace vmm

#endif  // VMM_MACHINE_PLATFORM_H_
