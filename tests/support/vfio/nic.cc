#include "tests/support/vfio/nic.h"

#include <string.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace vmm {
namespace {

// Both controllers.
constexpr uint64_t kCtrl = 0x0000;
constexpr uint32_t kCtrlSetLinkUp = 1 << 6;
constexpr uint32_t kCtrlReset = 1 << 26;
constexpr uint64_t kStatus = 0x0008;
constexpr uint32_t kStatusLinkUp = 1 << 1;
constexpr uint64_t kImc = 0x00d8;
constexpr uint64_t kRctl = 0x0100;
// Receive all: enable, unicast and multicast promiscuous, broadcast, strip the CRC.
constexpr uint32_t kRctlAll = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 15 | 1 << 26;
constexpr uint32_t kRctlBuffers1024 = 1 << 16;

// 82574.
constexpr uint64_t kEIms = 0x00d0;
constexpr uint64_t kEEiac = 0x00dc;
constexpr uint64_t kEIvar = 0x00e4;
constexpr uint32_t kEIvarRxQueue0Vector0 = 0x8;
constexpr uint32_t kECauseRxQueue0 = 1 << 20;
constexpr uint64_t kERing = 0x2800;
constexpr uint64_t kERfctl = 0x5008;

// 82576.
constexpr uint64_t kIMdic = 0x0020;
// Write the PHY's control register (0 of PHY 1): enable and restart autonegotiation.
constexpr uint32_t kIMdicNegotiate = 1 << 26 | 1 << 21 | 0x1200;
constexpr uint64_t kIGpie = 0x1514;
constexpr uint32_t kIGpieMultipleMsix = 1 << 4;
constexpr uint64_t kIEims = 0x1524;
constexpr uint64_t kIEimc = 0x1528;
constexpr uint64_t kIEiac = 0x152c;
constexpr uint64_t kIEiam = 0x1530;
constexpr uint64_t kIIvar0 = 0x1700;
constexpr uint32_t kIIvarRxQueue0Vector0 = 0x80;
constexpr uint64_t kIRing = 0xc000;
constexpr uint64_t kISrrctl = 0xc00c;
constexpr uint32_t kISrrctlAdvancedOneBuffer = 1 << 25;
constexpr uint64_t kIRxdctl = 0xc028;
constexpr uint32_t kIRxdctlEnable = 1 << 25;

// Registers of a ring, from its first one on.
constexpr uint64_t kBaseLow = 0x00;
constexpr uint64_t kBaseHigh = 0x04;
constexpr uint64_t kLength = 0x08;
constexpr uint64_t kHead = 0x10;
constexpr uint64_t kTail = 0x18;

// Fills a buffer before the controller has it: what it does not write must still be there
// afterwards.
constexpr uint8_t kUntouched = 0xa5;
// Descriptors are given back so many at a time.
constexpr uint64_t kTailEvery = 64;

absl::Status SetRing(MappedRegion& registers, uint64_t ring, uint64_t iova) {
  RETURN_IF_ERROR(registers.Write<uint32_t>(ring + kBaseLow, static_cast<uint32_t>(iova)));
  RETURN_IF_ERROR(registers.Write<uint32_t>(ring + kBaseHigh, static_cast<uint32_t>(iova >> 32)));
  RETURN_IF_ERROR(registers.Write<uint32_t>(ring + kLength, kDescriptors * kDescriptorBytes));
  return registers.Write<uint32_t>(ring + kHead, 0);
}

}  // namespace

uint64_t Nic::head_register() const {
  return (model_ == NicModel::kE1000e ? kERing : kIRing) + kHead;
}

absl::StatusOr<uint32_t> Nic::Head() const { return registers_.Read<uint32_t>(head_register()); }

// "Descriptor done", which the controller sets last: in the legacy format bit 0 of byte 12, in the
// advanced one of byte 8, where a descriptor that was offered has a header address of 0.
bool Nic::Done(uint64_t index) const {
  return (*arena_->At<uint8_t>(DescriptorOffset(index) + done_byte()) & 1) != 0;
}

void Nic::Offer(uint64_t index) {
  memset(arena_->Bytes(BufferOffset(index)), kUntouched, kBufferBytes);
  *arena_->At<uint64_t>(DescriptorOffset(index) + 8) = 0;
  *arena_->At<uint64_t>(DescriptorOffset(index)) = arena_->Iova(BufferOffset(index));
}

absl::Status Nic::Start() {
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kImc, UINT32_MAX));
  ASSIGN_OR_RETURN(const uint32_t ctrl, registers_.Read<uint32_t>(kCtrl));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kCtrl, ctrl | kCtrlReset));
  usleep(20'000);
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kImc, UINT32_MAX));
  ASSIGN_OR_RETURN(const uint32_t fresh, registers_.Read<uint32_t>(kCtrl));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kCtrl, fresh | kCtrlSetLinkUp));
  consumed_ = 0;
  for (uint64_t i = 0; i < kDescriptors; ++i) Offer(i);
  RETURN_IF_ERROR(model_ == NicModel::kE1000e ? StartE1000e() : StartIgb());
  // Negotiation takes half a second in QEMU.
  for (int i = 0; i < 100; ++i) {
    ASSIGN_OR_RETURN(const uint32_t status, registers_.Read<uint32_t>(kStatus));
    if ((status & kStatusLinkUp) != 0) return absl::OkStatus();
    usleep(100'000);
  }
  return absl::DeadlineExceededError("the link does not come up");
}

absl::Status Nic::StartE1000e() {
  RETURN_IF_ERROR(SetRing(registers_, kERing, arena_->Iova(kRingOffset)));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kERfctl, 0));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kERing + kTail, kDescriptors - 1));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kRctl, kRctlAll | kRctlBuffers1024));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kEIvar, kEIvarRxQueue0Vector0));
  // The vector's cause, and its mask, are cleared as it is raised.
  return registers_.Write<uint32_t>(kEEiac, kECauseRxQueue0);
}

absl::Status Nic::StartIgb() {
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kIEimc, UINT32_MAX));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kIMdic, kIMdicNegotiate));
  RETURN_IF_ERROR(SetRing(registers_, kIRing, arena_->Iova(kRingOffset)));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(
      kISrrctl, kISrrctlAdvancedOneBuffer | static_cast<uint32_t>(kBufferBytes >> 10)));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kIRxdctl, kIRxdctlEnable));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kRctl, kRctlAll));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kIRing + kTail, kDescriptors - 1));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kIGpie, kIGpieMultipleMsix));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kIIvar0, kIIvarRxQueue0Vector0));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kIEiac, 1));
  return registers_.Write<uint32_t>(kIEiam, 1);
}

absl::Status Nic::ArmInterrupt() {
  if (model_ == NicModel::kE1000e) return registers_.Write<uint32_t>(kEIms, kECauseRxQueue0);
  return registers_.Write<uint32_t>(kIEims, 1);
}

uint32_t Nic::Waiting() const {
  uint32_t waiting = 0;
  while (waiting < kDescriptors && Done(consumed_ + waiting)) ++waiting;
  return waiting;
}

Frame Nic::Peek(uint32_t index) const {
  Frame frame;
  memcpy(&frame, arena_->Bytes(BufferOffset(consumed_ + index)), sizeof(frame));
  return frame;
}

absl::StatusOr<std::optional<Frame>> Nic::Receive() {
  if (!Done(consumed_)) {
    // A DMA that was blocked leaves no trace in memory, but the head moves on.
    ASSIGN_OR_RETURN(const uint32_t head, Head());
    if (head != consumed_ % kDescriptors && !Done(consumed_)) {
      return absl::DataLossError(
          absl::StrFormat("the controller is at descriptor %d, and %d was never written", head,
                          consumed_ % kDescriptors));
    }
    return std::nullopt;
  }
  const uint8_t* const buffer = arena_->Bytes(BufferOffset(consumed_));
  const uint64_t length_at = DescriptorOffset(consumed_) + (model_ == NicModel::kE1000e ? 8 : 12);
  const uint16_t length = *arena_->At<uint16_t>(length_at);
  Frame frame;
  memcpy(&frame, buffer, sizeof(frame));
  if (length > kBufferBytes) {
    return absl::DataLossError(absl::StrFormat("a frame of %d bytes", length));
  }
  for (uint64_t i = length; i < kBufferBytes; ++i) {
    if (buffer[i] != kUntouched) {
      return absl::DataLossError(
          absl::StrFormat("a frame of %d bytes, and byte %d of its buffer was written", length, i));
    }
  }
  Offer(consumed_);
  ++consumed_;
  if (consumed_ % kTailEvery == 0) {
    const uint64_t ring = model_ == NicModel::kE1000e ? kERing : kIRing;
    RETURN_IF_ERROR(registers_.Write<uint32_t>(
        ring + kTail, static_cast<uint32_t>((consumed_ + kDescriptors - 1) % kDescriptors)));
  }
  return frame;
}

}  // namespace vmm
