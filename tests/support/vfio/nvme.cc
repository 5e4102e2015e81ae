#include "tests/support/vfio/nvme.h"

#include <string.h>
#include <unistd.h>

#include "absl/strings/str_format.h"
#include "base/status.h"

namespace vmm {
namespace {

constexpr uint64_t kCap = 0x00;
constexpr uint64_t kCc = 0x14;
// I/O queue entries of 2^6 and 2^4 bytes, enable.
constexpr uint32_t kCcOn = 6 << 16 | 4 << 20 | 1;
constexpr uint64_t kCsts = 0x1c;
constexpr uint64_t kAqa = 0x24;
constexpr uint64_t kAsq = 0x28;
constexpr uint64_t kAcq = 0x30;

constexpr uint8_t kCreateSq = 0x01;
constexpr uint8_t kCreateCq = 0x05;
constexpr uint8_t kRead = 0x02;
constexpr uint32_t kVector = 1;
constexpr uint64_t kSector = 512;

// Offsets in the arena.
constexpr uint64_t kAdminSq = 0x0000;
constexpr uint64_t kAdminCq = 0x1000;
constexpr uint64_t kIoSq = 0x2000;
constexpr uint64_t kIoCq = 0x3000;
constexpr uint64_t kBuffers = 0x10000;
constexpr uint32_t kAdminEntries = 16;

struct Command {
  uint8_t opcode;
  uint8_t flags;
  uint16_t id;
  uint32_t name_space;
  uint64_t reserved;
  uint64_t metadata;
  uint64_t prp1;
  uint64_t prp2;
  uint32_t dword10[6];
};
static_assert(sizeof(Command) == 64);

struct Completion {
  uint32_t result;
  uint32_t reserved;
  uint16_t sq_head;
  uint16_t sq_id;
  uint16_t id;
  uint16_t status;  // bit 0: phase
};
static_assert(sizeof(Completion) == 16);

// The phase bit of the n-th completion of a queue: 1 in its first round.
uint16_t Phase(uint32_t n, uint32_t entries) { return (n / entries) % 2 == 0 ? 1 : 0; }

Completion ReadCompletion(const DmaArena& arena, uint64_t queue, uint32_t slot) {
  const uint64_t at = queue + slot * sizeof(Completion);
  Completion completion;
  // The status first: it is written last.
  completion.status = *arena.At<uint16_t>(at + offsetof(Completion, status));
  completion.id = *arena.At<uint16_t>(at + offsetof(Completion, id));
  return completion;
}

}  // namespace

absl::Status Nvme::WaitReady(bool ready) {
  for (int i = 0; i < 500; ++i) {
    ASSIGN_OR_RETURN(const uint32_t status, registers_.Read<uint32_t>(kCsts));
    if ((status & 1) == (ready ? 1 : 0)) return absl::OkStatus();
    usleep(10'000);
  }
  return absl::DeadlineExceededError("the NVMe controller does not become ready");
}

absl::Status Nvme::Start() {
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kCc, 0));
  RETURN_IF_ERROR(WaitReady(false));
  memset(arena_->Bytes(0), 0, kNvmeArenaBytes);
  ASSIGN_OR_RETURN(const uint64_t capabilities, registers_.Read<uint64_t>(kCap));
  state_ = {.doorbell_stride = 4u << (capabilities >> 32 & 0xf)};
  RETURN_IF_ERROR(
      registers_.Write<uint32_t>(kAqa, (kAdminEntries - 1) << 16 | (kAdminEntries - 1)));
  RETURN_IF_ERROR(registers_.Write<uint64_t>(kAsq, arena_->Iova(kAdminSq)));
  RETURN_IF_ERROR(registers_.Write<uint64_t>(kAcq, arena_->Iova(kAdminCq)));
  RETURN_IF_ERROR(registers_.Write<uint32_t>(kCc, kCcOn));
  RETURN_IF_ERROR(WaitReady(true));
  // Queue 1 of each kind: contiguous, the completions with interrupts.
  RETURN_IF_ERROR(Admin(kCreateCq, arena_->Iova(kIoCq), (kNvmeEntries - 1) << 16 | 1,
                        kVector << 16 | 1 << 1 | 1));
  return Admin(kCreateSq, arena_->Iova(kIoSq), (kNvmeEntries - 1) << 16 | 1, 1 << 16 | 1);
}

absl::Status Nvme::Admin(uint8_t opcode, uint64_t buffer, uint32_t dword10, uint32_t dword11) {
  const uint32_t slot = state_.admin % kAdminEntries;
  const Command command = {.opcode = opcode,
                           .id = static_cast<uint16_t>(slot),
                           .prp1 = buffer,
                           .dword10 = {dword10, dword11}};
  memcpy(arena_->Bytes(kAdminSq + slot * sizeof(command)), &command, sizeof(command));
  const uint16_t phase = Phase(state_.admin, kAdminEntries);
  RETURN_IF_ERROR(registers_.Write<uint32_t>(Doorbell(0, false), (slot + 1) % kAdminEntries));
  for (int i = 0; i < 500; ++i) {
    const Completion completion = ReadCompletion(*arena_, kAdminCq, slot);
    if ((completion.status & 1) == phase) {
      ++state_.admin;
      RETURN_IF_ERROR(registers_.Write<uint32_t>(Doorbell(0, true), (slot + 1) % kAdminEntries));
      if (completion.status >> 1 == 0) return absl::OkStatus();
      return absl::InternalError(
          absl::StrFormat("admin command %#x fails with %#x", opcode, completion.status >> 1));
    }
    usleep(10'000);
  }
  return absl::DeadlineExceededError(absl::StrFormat("admin command %#x does not end", opcode));
}

uint8_t* Nvme::Buffer(uint32_t index) const {
  return arena_->Bytes(kBuffers + index % kNvmeEntries * kNvmeBlock);
}

absl::Status Nvme::SubmitRead(uint64_t block) {
  const uint32_t slot = state_.submitted % kNvmeEntries;
  memset(Buffer(slot), 0xa5, kNvmeBlock);
  const uint64_t sector = block * (kNvmeBlock / kSector);
  const Command command = {
      .opcode = kRead,
      .id = static_cast<uint16_t>(slot),
      .name_space = 1,
      .prp1 = arena_->Iova(kBuffers + slot * kNvmeBlock),
      .dword10 = {static_cast<uint32_t>(sector), static_cast<uint32_t>(sector >> 32),
                  kNvmeBlock / kSector - 1}};
  memcpy(arena_->Bytes(kIoSq + slot * sizeof(command)), &command, sizeof(command));
  ++state_.submitted;
  return registers_.Write<uint32_t>(Doorbell(1, false), state_.submitted % kNvmeEntries);
}

bool Nvme::Done(uint32_t completion) const {
  const uint16_t status = ReadCompletion(*arena_, kIoCq, completion % kNvmeEntries).status;
  return (status & 1) == Phase(completion, kNvmeEntries);
}

uint32_t Nvme::Waiting() const {
  uint32_t waiting = 0;
  while (waiting < in_flight() && Done(state_.completed + waiting)) ++waiting;
  return waiting;
}

absl::StatusOr<std::optional<uint32_t>> Nvme::Reap() {
  if (!Done(state_.completed)) return std::nullopt;
  const Completion completion = ReadCompletion(*arena_, kIoCq, state_.completed % kNvmeEntries);
  ++state_.completed;
  RETURN_IF_ERROR(registers_.Write<uint32_t>(Doorbell(1, true), state_.completed % kNvmeEntries));
  if (completion.status >> 1 != 0 || completion.id >= kNvmeEntries) {
    return absl::DataLossError(
        absl::StrFormat("command %d fails with %#x", completion.id, completion.status >> 1));
  }
  return completion.id;
}

}  // namespace vmm
