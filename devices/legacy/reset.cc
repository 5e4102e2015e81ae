#include "devices/legacy/reset.h"

#include "base/status.h"
#include "devices/saved_state.h"

namespace vmm {
namespace {

constexpr char kResetControlCompatible[] = "vmm,reset-control-v1";
constexpr uint8_t kHardReset = 1 << 1;
constexpr uint8_t kResetNow = 1 << 2;
constexpr uint8_t kFullReset = 1 << 3;
constexpr uint8_t kControlBits = kHardReset | kFullReset;

constexpr char kKeyboardResetCompatible[] = "vmm,keyboard-reset-v1";
constexpr uint8_t kOutputBufferFull = 1 << 0;
constexpr uint8_t kPulseResetLine = 0xfe;

}  // namespace

absl::StatusOr<std::unique_ptr<ResetControl>> ResetControl::Restore(const Tree& state,
                                                                    PowerSink* sink) {
  RETURN_IF_ERROR(CheckCompatible(state, kResetControlCompatible));
  auto reset = std::make_unique<ResetControl>(sink);
  ASSIGN_OR_RETURN(reset->control_, GetRegister(state, "control", kControlBits));
  return reset;
}

void ResetControl::Read(uint64_t /*offset*/, absl::Span<uint8_t> data) { data[0] = control_; }

void ResetControl::Write(uint64_t /*offset*/, absl::Span<const uint8_t> data) {
  control_ = data[0] & kControlBits;
  if (data[0] & kResetNow) sink_->Reset();
}

Tree ResetControl::Save() const {
  Tree tree("reset");
  tree.SetString("compatible", kResetControlCompatible);
  tree.SetU32("control", control_);
  return tree;
}

absl::StatusOr<std::unique_ptr<KeyboardReset>> KeyboardReset::Restore(const Tree& state,
                                                                      PowerSink* sink) {
  RETURN_IF_ERROR(CheckCompatible(state, kKeyboardResetCompatible));
  return std::make_unique<KeyboardReset>(sink);
}

void KeyboardReset::Read(uint64_t /*offset*/, absl::Span<uint8_t> data) {
  data[0] = kOutputBufferFull;
}

void KeyboardReset::Write(uint64_t /*offset*/, absl::Span<const uint8_t> data) {
  if (data[0] == kPulseResetLine) sink_->Reset();
}

Tree KeyboardReset::Save() const {
  Tree tree("keyboard-reset");
  tree.SetString("compatible", kKeyboardResetCompatible);
  return tree;
}

}  // namespace vmm
