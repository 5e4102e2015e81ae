// AcpiPower: the ACPI fixed power-management hardware: power-off, a power button, and the PM timer
// (ACPI 6.5, 4.8).
//
//   AcpiPower power(&machine, &sci, [&vm] { return vm.GuestNanoseconds(); });
//   RETURN_IF_ERROR(pio.Insert(AcpiPower::kPort, AcpiPower::kSize, &power));
//   power.PressPowerButton();   // asks the guest to shut down
//
// The FADT that fits it: PM1a_EVT_BLK 0x600 of 4 bytes, PM1a_CNT_BLK 0x604 of 2, PM_TMR_BLK 0x608
// of 4; TMR_VAL_EXT set, PWR_BUTTON clear (the button is fixed hardware), SLP_BUTTON set (there is
// none); SMI_CMD 0, since the hardware is always in ACPI mode; SCI_INT 9, level-triggered. S5 is
// SLP_TYP 5; no other sleeping state exists.
//
//   offset  bytes
//   0       2      PM1_STS  write one to clear; only PWRBTN_STS is ever set
//   2       2      PM1_EN   GBL_EN, PWRBTN_EN, SLPBTN_EN and RTC_EN stick, as an OS checks; TMR_EN
//                           does not: the timer raises no interrupt
//   4       2      PM1_CNT  SCI_EN reads 1; SLP_TYP sticks; SLP_EN with SLP_TYP 5 powers off
//   8       4      PM_TMR   3.579545 MHz, 32 bits
//
// The timer follows a clock that is handed in: nanoseconds of guest time, which never steps back.
// It should go on across an update as the guest's TSC does, blackout included (KVM_GET_CLOCK is
// such a clock), or Linux may find the TSC unstable when it checks one against the other. Where the
// clock starts anew all the same, the timer goes on from where it was saved.
//
// The saved node, version 1 (big-endian):
//
//   compatible         "vmm,acpi-power-v1"
//   pm1-status         u32, as PM1_STS reads
//   pm1-enable         u32, as PM1_EN reads
//   pm1-control        u32, SLP_TYP in its place
//   guest-nanoseconds  u64, what the timer was derived from
//
// Threads: every member may be called from any thread.
#ifndef DEVICES_LEGACY_ACPI_POWER_H_
#define DEVICES_LEGACY_ACPI_POWER_H_

#include <stdint.h>

#include <functional>
#include <memory>
#include <mutex>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"
#include "devices/device.h"
#include "devices/legacy/power_sink.h"

namespace vmm {

class AcpiPower final : public Device {
 public:
  static constexpr uint16_t kPort = 0x600;
  static constexpr uint64_t kSize = 12;
  static constexpr uint32_t kSciGsi = 9;
  static constexpr uint8_t kSleepTypeS5 = 5;
  static constexpr uint64_t kTimerHz = 3579545;

  using Clock = std::function<uint64_t()>;  // nanoseconds; called from any thread

  // As after power-on. `sink` and `sci` must outlive it.
  AcpiPower(PowerSink* sink, InterruptLine* sci, Clock clock);

  // As it was saved; sets `sci` to the level that the state implies.
  static absl::StatusOr<std::unique_ptr<AcpiPower>> Restore(const Tree& state, PowerSink* sink,
                                                            InterruptLine* sci, Clock clock);

  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;
  Tree Save() const override;

  // What the guest makes of it is its own affair: an OS with its handler installed shuts down,
  // firmware may not notice.
  void PressPowerButton();

 private:
  uint64_t Nanoseconds() const { return clock_() + clock_offset_; }
  void UpdateLine();  // wants mutex_ held

  PowerSink* const sink_;
  InterruptLine* const sci_;
  const Clock clock_;
  uint64_t clock_offset_ = 0;

  mutable std::mutex mutex_;
  uint16_t status_ = 0;
  uint16_t enable_ = 0;
  uint16_t control_ = 0;
};

}  // namespace vmm

#endif  // DEVICES_LEGACY_ACPI_POWER_H_
