#include "devices/legacy/acpi_power.h"

#include <utility>

#include "base/status.h"
#include "devices/saved_state.h"

namespace vmm {
namespace {

constexpr char kCompatible[] = "vmm,acpi-power-v1";

// ACPI 6.5, 4.8.3.1 and 4.8.3.2.
constexpr uint16_t kGlobal = 1 << 5;
constexpr uint16_t kPowerButton = 1 << 8;
constexpr uint16_t kSleepButton = 1 << 9;
constexpr uint16_t kRealTimeClock = 1 << 10;
constexpr uint16_t kStatusBits = kPowerButton;
constexpr uint16_t kEnableBits = kGlobal | kPowerButton | kSleepButton | kRealTimeClock;

constexpr uint16_t kSciEnable = 1 << 0;
constexpr int kSleepTypeShift = 10;
constexpr uint16_t kSleepType = 7 << kSleepTypeShift;
constexpr uint16_t kSleepEnable = 1 << 13;

uint32_t TimerTicks(uint64_t nanoseconds) {
  constexpr uint64_t kNanosecondsPerSecond = 1000000000;
  return static_cast<uint32_t>(static_cast<unsigned __int128>(nanoseconds) * AcpiPower::kTimerHz /
                               kNanosecondsPerSecond);
}

}  // namespace

AcpiPower::AcpiPower(PowerSink* sink, InterruptLine* sci, Clock clock)
    : sink_(sink), sci_(sci), clock_(std::move(clock)) {}

absl::StatusOr<std::unique_ptr<AcpiPower>> AcpiPower::Restore(const Tree& state, PowerSink* sink,
                                                              InterruptLine* sci, Clock clock) {
  RETURN_IF_ERROR(CheckCompatible(state, kCompatible));
  auto power = std::make_unique<AcpiPower>(sink, sci, std::move(clock));
  std::lock_guard<std::mutex> lock(power->mutex_);
  ASSIGN_OR_RETURN(power->status_, GetRegister(state, "pm1-status", kStatusBits));
  ASSIGN_OR_RETURN(power->enable_, GetRegister(state, "pm1-enable", kEnableBits));
  ASSIGN_OR_RETURN(power->control_, GetRegister(state, "pm1-control", kSleepType));
  ASSIGN_OR_RETURN(uint64_t saved, state.GetU64("guest-nanoseconds"));
  const uint64_t now = power->clock_();
  if (saved > now) power->clock_offset_ = saved - now;
  power->UpdateLine();
  return power;
}

Tree AcpiPower::Save() const {
  std::lock_guard<std::mutex> lock(mutex_);
  Tree tree("power");
  tree.SetString("compatible", kCompatible);
  tree.SetU32("pm1-status", status_);
  tree.SetU32("pm1-enable", enable_);
  tree.SetU32("pm1-control", control_);
  tree.SetU64("guest-nanoseconds", Nanoseconds());
  return tree;
}

void AcpiPower::Read(uint64_t offset, absl::Span<uint8_t> data) {
  // The whole block at one moment, since an access may take any part of it.
  std::lock_guard<std::mutex> lock(mutex_);
  const uint32_t ticks = TimerTicks(Nanoseconds());
  const uint16_t words[kSize / 2] = {
      status_,
      enable_,
      static_cast<uint16_t>(control_ | kSciEnable),
      0,
      static_cast<uint16_t>(ticks),
      static_cast<uint16_t>(ticks >> 16),
  };
  for (uint8_t& byte : data) {
    byte = words[offset / 2] >> (offset % 2 * 8);
    ++offset;
  }
}

void AcpiPower::Write(uint64_t offset, absl::Span<const uint8_t> data) {
  bool power_off = false;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (uint8_t byte : data) {
      const int shift = offset % 2 * 8;
      const uint16_t mask = 0xff << shift;  // the half of the register that this byte is
      const uint16_t value = byte << shift;
      switch (offset / 2) {
        case 0:
          status_ &= ~value;
          break;
        case 1:
          enable_ = (enable_ & ~mask) | (value & kEnableBits);
          break;
        case 2:
          control_ = (control_ & ~mask) | (value & kSleepType);
          power_off |= (value & kSleepEnable) && control_ >> kSleepTypeShift == kSleepTypeS5;
          break;
        default:  // reserved, and the timer, which is read-only
          break;
      }
      ++offset;
    }
    UpdateLine();
  }
  if (power_off) sink_->PowerOff();
}

void AcpiPower::PressPowerButton() {
  std::lock_guard<std::mutex> lock(mutex_);
  status_ |= kPowerButton;
  UpdateLine();
}

void AcpiPower::UpdateLine() { sci_->Set((status_ & enable_) != 0); }

}  // namespace vmm
