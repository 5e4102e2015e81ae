// Serial16550: a 16550A UART as pure logic. It has no thread and no file descriptor: the interrupt
// line and the output are handed in, input is pushed.
//
//   Serial16550 serial(&irq4, &console);
//   RETURN_IF_ERROR(pio.Insert(kCom1Port, Serial16550::kRegisterCount, &serial));
//   serial.SetRoomCallback([&console] { console.ResumeInput(); });
//   size_t taken = serial.Enqueue(typed);   // the rest once the callback says that there is room
//
// Registers are those of the National Semiconductor PC16550D data sheet; a wider access is one of
// bytes at successive registers, as on an ISA bus. A byte written goes out at once, so the
// transmitter is always empty and there is no baud rate: the divisor is only remembered. The
// receive FIFO has the 16 bytes of the real part, no more: Linux counts them in loopback mode and
// takes a port with 64 for another chip (drivers/tty/serial/8250/8250_port.c, size_fifo()). The
// character time-out is immediate: bytes below the trigger level interrupt without a wait.
//
// Input is never lost to overrun, except what a guest sends to itself in loopback mode, where the
// real part loses it too.
//
// The saved node, version 1 (registers in big-endian u32):
//
//   compatible       "vmm,16550a-v1"
//   ier lcr mcr scr  as last written, implemented bits only
//   fcr              enable (bit 0) and trigger level (bits 7:6); 0 while the FIFOs are off
//   divisor          DLM:DLL
//   modem-delta      MSR bits 3:0
//   overrun          LSR bit 1
//   thre-pending     1: the transmitter-empty interrupt has not been acknowledged
//   rx-fifo          bytes received and not yet read, oldest first
//
// Threads: every member may be called from any thread, SetRoomCallback() only before the others.
#ifndef DEVICES_LEGACY_SERIAL16550_H_
#define DEVICES_LEGACY_SERIAL16550_H_

#include <stddef.h>
#include <stdint.h>

#include <functional>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/tree.h"
#include "devices/device.h"
#include "devices/legacy/serial_output.h"

namespace vmm {

// COM1 of every PC.
inline constexpr uint16_t kCom1Port = 0x3f8;
inline constexpr uint32_t kCom1Gsi = 4;

class Serial16550 final : public Device {
 public:
  static constexpr uint64_t kRegisterCount = 8;
  static constexpr size_t kFifoCapacity = 16;

  // A port as after power-on. `line` and `output` must outlive it. The line follows the chip's INTR
  // pin: it is set only when it changes.
  Serial16550(InterruptLine* line, SerialOutput* output);

  // A port as it was saved. Wants the interrupt controllers restored before it: the line is lowered
  // and, if the state has an interrupt pending, raised again. That makes an edge whatever the
  // controllers remember of the line, so a guest saved between an interrupt's cause and its
  // delivery is interrupted again; one that had it delivered gets a spurious interrupt, which
  // drivers tolerate; a lost one would hang the console.
  static absl::StatusOr<std::unique_ptr<Serial16550>> Restore(const Tree& state,
                                                              InterruptLine* line,
                                                              SerialOutput* output);

  void Read(uint64_t offset, absl::Span<uint8_t> data) override;
  void Write(uint64_t offset, absl::Span<const uint8_t> data) override;
  Tree Save() const override;

  // Receives as much of `input` as fits and returns how much that was. After a short count the room
  // callback is called once, when the guest has emptied the FIFO.
  size_t Enqueue(absl::Span<const uint8_t> input);

  // `callback` is called on a vCPU's thread with no lock held; it may call Enqueue().
  void SetRoomCallback(std::function<void()> callback) { room_callback_ = std::move(callback); }

 private:
  struct State {
    uint8_t ier = 0;
    uint8_t fcr = 0;
    uint8_t lcr = 0;
    uint8_t mcr = 0;
    uint8_t scr = 0;
    uint16_t divisor = 12;  // 9600 baud of 115200
    uint8_t modem_delta = 0;
    bool overrun = false;
    bool thre_pending = false;
    std::vector<uint8_t> rx_fifo;
  };

  static absl::StatusOr<State> ParseState(const Tree& tree);

  // All of these want mutex_ held.
  uint8_t ReadRegister(uint64_t offset);
  void WriteRegister(uint64_t offset, uint8_t value);
  uint8_t ReadReceiver();
  uint8_t ReadInterruptId();
  void Transmit(uint8_t value);
  void WriteInterruptEnable(uint8_t value);
  void WriteFifoControl(uint8_t value);
  void WriteModemControl(uint8_t value);
  uint8_t InterruptId() const;
  uint8_t ModemLines() const;
  bool loopback() const;
  bool divisor_latch() const;
  void UpdateLine();
  bool TakeRoomNotice();

  InterruptLine* const line_;
  SerialOutput* const output_;
  std::function<void()> room_callback_;

  mutable std::mutex mutex_;
  State state_;
  bool asserted_ = false;     // what the line was last set to
  bool input_waits_ = false;  // an Enqueue() was cut short since the last room callback
};

}  // namespace vmm

#endif  // DEVICES_LEGACY_SERIAL16550_H_
