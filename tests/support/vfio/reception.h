// What vfio_nic keeps of its reception: the frames' numbers, of which none may be missing, and what
// the next generation must know, in a memfd.
#ifndef TESTS_SUPPORT_VFIO_RECEPTION_H_
#define TESTS_SUPPORT_VFIO_RECEPTION_H_

#include <errno.h>
#include <stdint.h>
#include <sys/mman.h>
#include <unistd.h>

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "tests/support/vfio/frame.h"

namespace vmm {

class Sequence {
 public:
  Sequence() = default;
  // Goes on behind a frame.
  Sequence(uint64_t number, uint64_t skipped) : number_(number), skipped_(skipped) {}

  absl::Status Add(const Frame& frame) {
    if (!IsNumbered(frame)) return absl::OkStatus();  // the emulator's own
    if (!IsWhole(frame)) {
      return absl::DataLossError(absl::StrFormat("frame %d came over damaged", frame.number));
    }
    if (number_ != 0) {
      const uint64_t missing = frame.number - number_ - 1;
      const uint64_t not_sent = frame.skipped - skipped_;
      if (frame.number <= number_ || missing != not_sent) {
        return absl::DataLossError(
            absl::StrFormat("after frame %d came %d, and only %d between them were never sent",
                            number_, frame.number, not_sent));
      }
    }
    number_ = frame.number;
    skipped_ = frame.skipped;
    ++received_;
    return absl::OkStatus();
  }

  uint64_t number() const { return number_; }
  uint64_t skipped() const { return skipped_; }
  uint64_t received() const { return received_; }

 private:
  uint64_t number_ = 0;  // of the last frame; 0 before the first
  uint64_t skipped_ = 0;
  uint64_t received_ = 0;
};

inline constexpr uint64_t kReceptionMagic = 0x4349'4e4f'4946'5602;

struct ReceptionState {
  uint64_t magic = kReceptionMagic;
  uint64_t consumed = 0;
  uint64_t last_number = 0;
  uint64_t last_skipped = 0;
  uint64_t managed_kb = 0;  // MemTotal at the start
  uint64_t has_edu = 0;
};

class StateMemfd {
 public:
  static absl::StatusOr<StateMemfd> Create() {
    UniqueFd fd(memfd_create("nic-state", MFD_CLOEXEC));
    if (!fd.valid() || ftruncate(fd.get(), 4096) < 0) return ErrnoStatus(errno, "state memfd");
    return StateMemfd(std::move(fd));
  }
  explicit StateMemfd(UniqueFd fd) : fd_(std::move(fd)) {}

  absl::Status Write(const ReceptionState& state) const {
    if (pwrite(fd_.get(), &state, sizeof(state), 0) != sizeof(state)) {
      return ErrnoStatus(errno, "write the state");
    }
    return absl::OkStatus();
  }
  absl::StatusOr<ReceptionState> Read() const {
    ReceptionState state;
    if (pread(fd_.get(), &state, sizeof(state), 0) != sizeof(state)) {
      return ErrnoStatus(errno, "read the state");
    }
    if (state.magic != kReceptionMagic) return absl::DataLossError("the state did not survive");
    return state;
  }
  int fd() const { return fd_.get(); }

 private:
  UniqueFd fd_;
};

}  // namespace vmm

#endif  // TESTS_SUPPORT_VFIO_RECEPTION_H_
