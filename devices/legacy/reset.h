// The two ways in which a PC is reset by port I/O.
//
//   ResetControl reset(&machine);
//   KeyboardReset keyboard(&machine);
//   RETURN_IF_ERROR(pio.Insert(ResetControl::kPort, ResetControl::kSize, &reset));
//   RETURN_IF_ERROR(pio.Insert(KeyboardReset::kPort, KeyboardReset::kSize, &keyboard));
//
// Both hand the event to a PowerSink, which must outlive them. Threads: every member may be called
// from any thread.
#ifndef DEVICES_LEGACY_RESET_H_
#define DEVICES_LEGACY_RESET_H_

#include <stdint.h>

#include <atomic>
#include <memory>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"
#include "devices/device.h"
#include "devices/legacy/power_sink.h"

namespace vmm {

// The reset control register of Intel's south bridges (ICH9 data sheet, RST_CNT) and what the
// FADT's RESET_REG names, with value 6: bit 1 says hard rather than soft, bit 3 a full power cycle,
// and bit 2 does it. Every kind resets the whole machine. Bit 2 reads 0: nobody sees it set.
//
// The saved node, version 1: compatible "vmm,reset-control-v1"; control, big-endian u32, bits 1
// and 3.
class ResetControl final : public Device {
 public:
  static constexpr uint16_t kPort = 0xcf9;
  static constexpr uint64_t kSize = 1;

  explicit ResetControl(PowerSink* sink) : sink_(sink) {}
  static absl::StatusOr<std::unique_ptr<ResetControl>> Restore(const Tree& state, PowerSink* sink);

  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;
  Tree Save() const override;

 private:
  PowerSink* const sink_;
  std::atomic<uint8_t> control_ = 0;
};

// The command port of a keyboard controller of which only the reset line is there: command 0xfe
// pulses it, as Linux does with reboot=k and where ACPI's reset fails (arch/x86/kernel/reboot.c).
// The FADT should say that there is no 8042 (IAPC_BOOT_ARCH bit 1 clear). To who probes all the
// same, the status is always "output buffer full, input buffer empty": the buffer that cannot be
// emptied tells Linux at once that there is no controller (i8042_flush()), and the empty one lets
// it send the reset without a wait (kb_wait()).
//
// The saved node, version 1: compatible "vmm,keyboard-reset-v1"; there is no state.
class KeyboardReset final : public Device {
 public:
  static constexpr uint16_t kPort = 0x64;
  static constexpr uint64_t kSize = 1;

  explicit KeyboardReset(PowerSink* sink) : sink_(sink) {}
  static absl::StatusOr<std::unique_ptr<KeyboardReset>> Restore(const Tree& state, PowerSink* sink);

  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;
  Tree Save() const override;

 private:
  PowerSink* const sink_;
};

}  // namespace vmm

#endif  // DEVICES_LEGACY_RESET_H_
