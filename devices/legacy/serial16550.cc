#include "devices/legacy/serial16550.h"

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "devices/saved_state.h"

namespace vmm {
namespace {

constexpr char kCompatible[] = "vmm,16550a-v1";

// PC16550D data sheet, table II; the names are Linux's (include/uapi/linux/serial_reg.h).
enum Register : uint64_t {
  kData = 0,  // RBR and THR, DLL behind the latch
  kIer = 1,   // DLM behind the latch
  kIir = 2,   // FCR when written
  kLcr = 3,
  kMcr = 4,
  kLsr = 5,
  kMsr = 6,
  kScr = 7,
};

constexpr uint8_t kIerReceived = 0x01;
constexpr uint8_t kIerTransmitterEmpty = 0x02;
constexpr uint8_t kIerLineStatus = 0x04;
constexpr uint8_t kIerModemStatus = 0x08;
constexpr uint8_t kIerBits = 0x0f;

// Interrupt identities, highest priority first.
constexpr uint8_t kIirLineStatus = 0x06;
constexpr uint8_t kIirReceived = 0x04;
constexpr uint8_t kIirTimeout = 0x0c;
constexpr uint8_t kIirTransmitterEmpty = 0x02;
constexpr uint8_t kIirModemStatus = 0x00;
constexpr uint8_t kIirNone = 0x01;
constexpr uint8_t kIirFifosEnabled = 0xc0;

constexpr uint8_t kFcrEnable = 0x01;
constexpr uint8_t kFcrClearReceiver = 0x02;
constexpr uint8_t kFcrTrigger = 0xc0;

constexpr uint8_t kLcrDivisorLatch = 0x80;

constexpr uint8_t kMcrDtr = 0x01;
constexpr uint8_t kMcrRts = 0x02;
constexpr uint8_t kMcrOut1 = 0x04;
constexpr uint8_t kMcrOut2 = 0x08;
constexpr uint8_t kMcrLoopback = 0x10;
constexpr uint8_t kMcrBits = 0x1f;

constexpr uint8_t kLsrDataReady = 0x01;
constexpr uint8_t kLsrOverrun = 0x02;
constexpr uint8_t kLsrTransmitterEmpty = 0x60;  // THRE and TEMT

constexpr uint8_t kMsrDeltaCts = 0x01;
constexpr uint8_t kMsrDeltaDsr = 0x02;
constexpr uint8_t kMsrTrailingRing = 0x04;
constexpr uint8_t kMsrDeltaDcd = 0x08;
constexpr uint8_t kMsrDeltaBits = 0x0f;
constexpr uint8_t kMsrCts = 0x10;
constexpr uint8_t kMsrDsr = 0x20;
constexpr uint8_t kMsrRing = 0x40;
constexpr uint8_t kMsrDcd = 0x80;

size_t Capacity(uint8_t fcr) { return (fcr & kFcrEnable) ? Serial16550::kFifoCapacity : 1; }

size_t TriggerLevel(uint8_t fcr) {
  constexpr size_t kLevels[] = {1, 4, 8, 14};
  return kLevels[fcr >> 6];
}

}  // namespace

Serial16550::Serial16550(InterruptLine* line, SerialOutput* output)
    : line_(line), output_(output) {}

absl::StatusOr<Serial16550::State> Serial16550::ParseState(const Tree& tree) {
  RETURN_IF_ERROR(CheckCompatible(tree, kCompatible));
  State state;
  ASSIGN_OR_RETURN(state.ier, GetRegister(tree, "ier", kIerBits));
  ASSIGN_OR_RETURN(state.fcr, GetRegister(tree, "fcr", kFcrEnable | kFcrTrigger));
  ASSIGN_OR_RETURN(state.lcr, GetRegister(tree, "lcr", 0xff));
  ASSIGN_OR_RETURN(state.mcr, GetRegister(tree, "mcr", kMcrBits));
  ASSIGN_OR_RETURN(state.scr, GetRegister(tree, "scr", 0xff));
  ASSIGN_OR_RETURN(state.divisor, GetRegister(tree, "divisor", 0xffff));
  ASSIGN_OR_RETURN(state.modem_delta, GetRegister(tree, "modem-delta", kMsrDeltaBits));
  ASSIGN_OR_RETURN(state.overrun, GetRegister(tree, "overrun", 1));
  ASSIGN_OR_RETURN(state.thre_pending, GetRegister(tree, "thre-pending", 1));
  ASSIGN_OR_RETURN(absl::Span<const uint8_t> rx_fifo, tree.GetBytes("rx-fifo"));

  if (state.fcr != 0 && !(state.fcr & kFcrEnable)) {
    return absl::InvalidArgumentError("serial port with a trigger level but its FIFOs off");
  }
  if (state.thre_pending && !(state.ier & kIerTransmitterEmpty)) {
    return absl::InvalidArgumentError("serial port with a disabled interrupt pending");
  }
  if (rx_fifo.size() > Capacity(state.fcr)) {
    return absl::InvalidArgumentError(absl::StrCat(
        "serial port with ", rx_fifo.size(), " bytes received; it holds ", Capacity(state.fcr)));
  }
  state.rx_fifo.assign(rx_fifo.begin(), rx_fifo.end());
  return state;
}

absl::StatusOr<std::unique_ptr<Serial16550>> Serial16550::Restore(const Tree& state,
                                                                  InterruptLine* line,
                                                                  SerialOutput* output) {
  ASSIGN_OR_RETURN(State parsed, ParseState(state));
  auto serial = std::make_unique<Serial16550>(line, output);
  std::lock_guard<std::mutex> lock(serial->mutex_);
  serial->state_ = std::move(parsed);
  line->Set(false);
  serial->UpdateLine();
  return serial;
}

Tree Serial16550::Save() const {
  std::lock_guard<std::mutex> lock(mutex_);
  Tree tree("serial");
  tree.SetString("compatible", kCompatible);
  tree.SetU32("ier", state_.ier);
  tree.SetU32("fcr", state_.fcr);
  tree.SetU32("lcr", state_.lcr);
  tree.SetU32("mcr", state_.mcr);
  tree.SetU32("scr", state_.scr);
  tree.SetU32("divisor", state_.divisor);
  tree.SetU32("modem-delta", state_.modem_delta);
  tree.SetU32("overrun", state_.overrun);
  tree.SetU32("thre-pending", state_.thre_pending);
  tree.SetBytes("rx-fifo", state_.rx_fifo);
  return tree;
}

void Serial16550::Read(uint64_t offset, absl::Span<uint8_t> data) {
  bool room;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (uint8_t& byte : data) byte = ReadRegister(offset++);
    UpdateLine();
    room = TakeRoomNotice();
  }
  if (room) room_callback_();
}

void Serial16550::Write(uint64_t offset, absl::Span<const uint8_t> data) {
  bool room;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    for (uint8_t byte : data) WriteRegister(offset++, byte);
    UpdateLine();
    room = TakeRoomNotice();
  }
  if (room) room_callback_();
}

size_t Serial16550::Enqueue(absl::Span<const uint8_t> input) {
  std::lock_guard<std::mutex> lock(mutex_);
  // In loopback mode the receiver hears the transmitter, not the wire.
  const size_t room = loopback() ? 0 : Capacity(state_.fcr) - state_.rx_fifo.size();
  const size_t taken = std::min(room, input.size());
  state_.rx_fifo.insert(state_.rx_fifo.end(), input.begin(), input.begin() + taken);
  input_waits_ = taken < input.size();
  UpdateLine();
  return taken;
}

uint8_t Serial16550::ReadRegister(uint64_t offset) {
  switch (offset) {
    case kData:
      return divisor_latch() ? state_.divisor & 0xff : ReadReceiver();
    case kIer:
      return divisor_latch() ? state_.divisor >> 8 : state_.ier;
    case kIir:
      return ReadInterruptId();
    case kLcr:
      return state_.lcr;
    case kMcr:
      return state_.mcr;
    case kLsr:
      return kLsrTransmitterEmpty | (state_.rx_fifo.empty() ? 0 : kLsrDataReady) |
             (std::exchange(state_.overrun, false) ? kLsrOverrun : 0);
    case kMsr:
      return ModemLines() | std::exchange(state_.modem_delta, 0);
    case kScr:
      return state_.scr;
    default:
      return 0xff;
  }
}

void Serial16550::WriteRegister(uint64_t offset, uint8_t value) {
  switch (offset) {
    case kData:
      if (divisor_latch()) {
        state_.divisor = (state_.divisor & 0xff00) | value;
      } else {
        Transmit(value);
      }
      break;
    case kIer:
      if (divisor_latch()) {
        state_.divisor = (state_.divisor & 0x00ff) | value << 8;
      } else {
        WriteInterruptEnable(value & kIerBits);
      }
      break;
    case kIir:
      WriteFifoControl(value);
      break;
    case kLcr:
      state_.lcr = value;
      break;
    case kMcr:
      WriteModemControl(value & kMcrBits);
      break;
    case kScr:
      state_.scr = value;
      break;
    default:  // LSR and MSR are read-only
      break;
  }
}

uint8_t Serial16550::ReadReceiver() {
  if (state_.rx_fifo.empty()) return 0;
  const uint8_t byte = state_.rx_fifo.front();
  state_.rx_fifo.erase(state_.rx_fifo.begin());
  return byte;
}

uint8_t Serial16550::ReadInterruptId() {
  const uint8_t id = InterruptId();
  // Reading acknowledges this one source, and only when it is the one reported.
  if (id == kIirTransmitterEmpty) state_.thre_pending = false;
  return id | ((state_.fcr & kFcrEnable) ? kIirFifosEnabled : 0);
}

void Serial16550::Transmit(uint8_t value) {
  if (!loopback()) {
    output_->Write({&value, 1});
  } else if (state_.rx_fifo.size() < Capacity(state_.fcr)) {
    state_.rx_fifo.push_back(value);
  } else {
    // A full FIFO keeps what it has; the single receive buffer is overwritten.
    state_.overrun = true;
    if (!(state_.fcr & kFcrEnable)) state_.rx_fifo.back() = value;
  }
  state_.thre_pending = state_.ier & kIerTransmitterEmpty;
}

void Serial16550::WriteInterruptEnable(uint8_t value) {
  // Enabling interrupts at once, the transmitter being empty. Linux's THRE test wants this each
  // time it is enabled anew.
  const bool enabled = (value & kIerTransmitterEmpty) && !(state_.ier & kIerTransmitterEmpty);
  state_.ier = value;
  state_.thre_pending = enabled || (state_.thre_pending && (value & kIerTransmitterEmpty));
}

void Serial16550::WriteFifoControl(uint8_t value) {
  if (((value ^ state_.fcr) & kFcrEnable) || (value & kFcrClearReceiver)) state_.rx_fifo.clear();
  state_.fcr = (value & kFcrEnable) ? value & (kFcrEnable | kFcrTrigger) : 0;
}

void Serial16550::WriteModemControl(uint8_t value) {
  const uint8_t before = ModemLines();
  state_.mcr = value;
  const uint8_t now = ModemLines();
  const uint8_t changed = before ^ now;
  if (changed & kMsrCts) state_.modem_delta |= kMsrDeltaCts;
  if (changed & kMsrDsr) state_.modem_delta |= kMsrDeltaDsr;
  if (changed & before & kMsrRing) state_.modem_delta |= kMsrTrailingRing;
  if (changed & kMsrDcd) state_.modem_delta |= kMsrDeltaDcd;
}

uint8_t Serial16550::InterruptId() const {
  if ((state_.ier & kIerLineStatus) && state_.overrun) return kIirLineStatus;
  if ((state_.ier & kIerReceived) && !state_.rx_fifo.empty()) {
    return state_.rx_fifo.size() < TriggerLevel(state_.fcr) ? kIirTimeout : kIirReceived;
  }
  if (state_.thre_pending) return kIirTransmitterEmpty;
  if ((state_.ier & kIerModemStatus) && state_.modem_delta != 0) return kIirModemStatus;
  return kIirNone;
}

uint8_t Serial16550::ModemLines() const {
  // A peer that is always there and ready.
  if (!loopback()) return kMsrCts | kMsrDsr | kMsrDcd;
  uint8_t lines = 0;
  if (state_.mcr & kMcrRts) lines |= kMsrCts;
  if (state_.mcr & kMcrDtr) lines |= kMsrDsr;
  if (state_.mcr & kMcrOut1) lines |= kMsrRing;
  if (state_.mcr & kMcrOut2) lines |= kMsrDcd;
  return lines;
}

bool Serial16550::loopback() const { return state_.mcr & kMcrLoopback; }

bool Serial16550::divisor_latch() const { return state_.lcr & kLcrDivisorLatch; }

void Serial16550::UpdateLine() {
  const bool pending = InterruptId() != kIirNone;
  // Setting the line may be a system call: not for every byte.
  if (pending != asserted_) line_->Set(pending);
  asserted_ = pending;
}

bool Serial16550::TakeRoomNotice() {
  // Only once it is empty, so that input comes in FIFOs full rather than byte by byte.
  if (!input_waits_ || loopback() || !state_.rx_fifo.empty()) return false;
  input_waits_ = false;
  return room_callback_ != nullptr;
}

}  // namespace vmm
