#include "tests/support/vfio/edu.h"

#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "tests/support/vfio/device_setup.h"

namespace vmm {
namespace {

constexpr uint64_t kInterruptAcknowledge = 0x64;
constexpr uint64_t kDmaFrom = 0x80;
constexpr uint64_t kDmaTo = 0x88;
constexpr uint64_t kDmaCount = 0x90;
constexpr uint64_t kDmaCommand = 0x98;
constexpr uint64_t kStart = 1 << 0;
constexpr uint64_t kToMemory = 1 << 1;
constexpr uint64_t kInterrupt = 1 << 2;
constexpr uint32_t kDmaInterrupt = 0x100;
constexpr uint64_t kOwnBuffer = 0x40000;

uint8_t Pattern(uint64_t index) { return static_cast<uint8_t>(index * 13 + 1); }

}  // namespace

absl::StatusOr<Edu> Edu::Attach(VfioDevice device, const IommuFd& iommu, const Hwpt& table,
                                const DmaArena* arena, uint64_t offset) {
  RETURN_IF_ERROR(device.Bind(iommu));
  RETURN_IF_ERROR(device.Attach(table));
  ASSIGN_OR_RETURN(const VfioRegion bar, device.Region(0));
  ASSIGN_OR_RETURN(MappedRegion registers, bar.Map(0, bar.size()));
  return Edu(std::move(device), std::move(registers), arena, offset);
}

absl::Status Edu::Load() {
  ASSIGN_OR_RETURN(PciConfigSpace config, device_.Config());
  RETURN_IF_ERROR(config.SetCommandBits(kPciCommandMemory | kPciCommandBusMaster));
  for (uint64_t i = 0; i < kEduBytes; ++i) *arena_->At<uint8_t>(offset_ + i) = Pattern(i);
  RETURN_IF_ERROR(Transfer(arena_->Iova(offset_), kOwnBuffer, kStart));
  for (int i = 0; i < 500; ++i) {
    ASSIGN_OR_RETURN(const uint64_t command, registers_.Read<uint64_t>(kDmaCommand));
    if ((command & kStart) == 0) return absl::OkStatus();
    usleep(10'000);
  }
  return absl::DeadlineExceededError("edu's DMA does not end");
}

absl::Status Edu::Transfer(uint64_t from, uint64_t to, uint64_t command) {
  RETURN_IF_ERROR(registers_.Write<uint64_t>(kDmaFrom, from));
  RETURN_IF_ERROR(registers_.Write<uint64_t>(kDmaTo, to));
  RETURN_IF_ERROR(registers_.Write<uint64_t>(kDmaCount, kEduBytes));
  return registers_.Write<uint64_t>(kDmaCommand, command);
}

absl::Status Edu::Arm(InterruptKind kind) {
  ASSIGN_OR_RETURN(interrupts_, device_.Interrupts(kind));
  event_.Reset(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  RETURN_IF_ERROR(interrupts_->SetEventFds(0, {event_.get()}));
  if (!interrupts_->info().maskable) return absl::OkStatus();
  // The line may have been up before there was a handler, of which QEMU's I/O APIC makes nothing:
  // where it is up, unmasking signals the eventfd.
  RETURN_IF_ERROR(interrupts_->Mask(0, 1));
  return interrupts_->Unmask(0, 1);
}

absl::Status Edu::StartCopy() {
  memset(arena_->Bytes(offset_ + kEduBytes), 0, kEduArenaBytes - kEduBytes);
  return Transfer(kOwnBuffer, arena_->Iova(offset_ + kEduBytes), kStart | kToMemory | kInterrupt);
}

absl::Status Edu::ExpectCopy(const std::string& what) {
  if (!WaitForEvent(event_.get(), 5000)) {
    return absl::DataLossError(what + ": edu's interrupt does not arrive");
  }
  for (uint64_t i = 0; i < kEduArenaBytes; ++i) {
    const uint8_t expected = i < 2 * kEduBytes ? Pattern(i % kEduBytes) : 0;
    if (*arena_->At<uint8_t>(offset_ + i) != expected) {
      return absl::DataLossError(absl::StrFormat("%s: edu's copy is wrong at byte %d", what, i));
    }
  }
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kInterruptAcknowledge, kDmaInterrupt));
  return interrupts_->info().automasked ? interrupts_->Unmask(0, 1) : absl::OkStatus();
}

}  // namespace vmm
