#include "vmm/machine/platform.h"

#include <functional>

#include "base/status.h"
#include "vmm/boot/platform.h"
#include "vmm/kvm/guest_clock.h"

namespace vmm {
namespace {

// What the ACPI tables promise the guest is what the devices are.
static_assert(kSerialPort == kCom1Port && kSerialPortCount == Serial16550::kRegisterCount);
static_assert(kSerialGsi == kCom1Gsi);
static_assert(kPm1EventPort == AcpiPower::kPort);
static_assert(kPm1ControlPort == AcpiPower::kPort + 4);
static_assert(kPmTimerPort == AcpiPower::kPort + 8);
static_assert(kPmTimerPort + kPmTimerPortCount == AcpiPower::kPort + AcpiPower::kSize);
static_assert(kSciGsi == AcpiPower::kSciGsi && kSleepTypeS5 == AcpiPower::kSleepTypeS5);
static_assert(kResetPort == ResetControl::kPort);

// The kvmclock: guest time that goes on over an update. KVM_GET_CLOCK does not fail on a VM.
AcpiPower::Clock GuestTime(const KvmVm* vm) {
  return [vm]() -> uint64_t {
    absl::StatusOr<SavedClock> clock = ReadClock(*vm);
    return clock.ok() ? clock->kvmclock_ns : 0;
  };
}

}  // namespace

// KVM_IRQ_LINE fails only for a GSI that isn't routed, and these are.
void Platform::GsiLine::Set(bool asserted) { vm_->SetIrqLine(gsi_, asserted).IgnoreError(); }

Platform::Platform(const KvmVm* vm) : serial_line_(vm, kSerialGsi), sci_line_(vm, kSciGsi) {}

absl::StatusOr<std::unique_ptr<Platform>> Platform::Create(const Environment& environment) {
  std::unique_ptr<Platform> platform(new Platform(environment.vm));
  platform->serial_ =
      std::make_unique<Serial16550>(&platform->serial_line_, environment.serial_output);
  platform->acpi_power_ = std::make_unique<AcpiPower>(environment.power, &platform->sci_line_,
                                                      GuestTime(environment.vm));
  platform->reset_control_ = std::make_unique<ResetControl>(environment.power);
  platform->keyboard_reset_ = std::make_unique<KeyboardReset>(environment.power);
  RETURN_IF_ERROR(platform->Connect());
  return platform;
}

absl::StatusOr<std::unique_ptr<Platform>> Platform::Restore(const Tree& state,
                                                            const Environment& environment) {
  std::unique_ptr<Platform> platform(new Platform(environment.vm));
  ASSIGN_OR_RETURN(const Tree* serial, state.Child("serial"));
  ASSIGN_OR_RETURN(platform->serial_, Serial16550::Restore(*serial, &platform->serial_line_,
                                                           environment.serial_output));
  ASSIGN_OR_RETURN(const Tree* acpi_power, state.Child("power"));
  ASSIGN_OR_RETURN(platform->acpi_power_,
                   AcpiPower::Restore(*acpi_power, environment.power, &platform->sci_line_,
                                      GuestTime(environment.vm)));
  ASSIGN_OR_RETURN(const Tree* reset_control, state.Child("reset"));
  ASSIGN_OR_RETURN(platform->reset_control_,
                   ResetControl::Restore(*reset_control, environment.power));
  ASSIGN_OR_RETURN(const Tree* keyboard_reset, state.Child("keyboard-reset"));
  ASSIGN_OR_RETURN(platform->keyboard_reset_,
                   KeyboardReset::Restore(*keyboard_reset, environment.power));
  RETURN_IF_ERROR(platform->Connect());
  return platform;
}

absl::Status Platform::Connect() {
  RETURN_IF_ERROR(pio_.Insert(kCom1Port, Serial16550::kRegisterCount, serial_.get()));
  RETURN_IF_ERROR(pio_.Insert(AcpiPower::kPort, AcpiPower::kSize, acpi_power_.get()));
  RETURN_IF_ERROR(pio_.Insert(ResetControl::kPort, ResetControl::kSize, reset_control_.get()));
  return pio_.Insert(KeyboardReset::kPort, KeyboardReset::kSize, keyboard_reset_.get());
}

void Platform::Save(Tree& state) const {
  state.AddChild(serial_->Save());
  state.AddChild(acpi_power_->Save());
  state.AddChild(reset_control_->Save());
  state.AddChild(keyboard_reset_->Save());
}

}  // namespace vmm
