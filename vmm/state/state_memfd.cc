#include "vmm/state/state_memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/memfd.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "vmm/state/state_frame.h"
#include "vmm/state/state_schema.h"

namespace vmm {
namespace {

// All of them are among MEMFD_LUO_ALL_SEALS (Linux 7.3, include/linux/kho/abi/memfd.h).
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;

absl::StatusOr<UniqueFd> CreateMemfd() {
  constexpr unsigned kFlags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
  // MFD_EXEC is asked for because vm.memfd_noexec=1 would otherwise add F_SEAL_EXEC, which the next
  // kernel restores together with F_SEAL_WRITE (Linux 7.3, memfd_add_seals()), and then nothing
  // could be marked consumed.
  UniqueFd fd(memfd_create("vmm-state", kFlags | MFD_EXEC));
  // Linux before 6.3 does not know the flag, nor the seal.
  if (!fd.valid() && errno == EINVAL) fd.Reset(memfd_create("vmm-state", kFlags));
  if (!fd.valid()) return ErrnoStatus(errno, "create the state memfd");
  return fd;
}

absl::Status WriteAll(int fd, absl::Span<const uint8_t> bytes, off_t offset) {
  while (!bytes.empty()) {
    ssize_t written = pwrite(fd, bytes.data(), bytes.size(), offset);
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return ErrnoStatus(errno, "write the state memfd");
    bytes.remove_prefix(written);
    offset += written;
  }
  return absl::OkStatus();
}

absl::Status ReadAll(int fd, absl::Span<uint8_t> bytes, off_t offset) {
  while (!bytes.empty()) {
    ssize_t got = pread(fd, bytes.data(), bytes.size(), offset);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return ErrnoStatus(errno, "read the state memfd");
    if (got == 0) return absl::InvalidArgumentError("the state memfd is cut short");
    bytes.remove_prefix(got);
    offset += got;
  }
  return absl::OkStatus();
}

absl::Span<uint8_t> AsBytes(uint32_t& value) {
  return absl::MakeSpan(reinterpret_cast<uint8_t*>(&value), sizeof(value));
}

// A write lock on StateHeader::consumed. It belongs to the process, not to the open file, and so
// tells apart processes that got the same open file from one session.
class ConsumedLock {
 public:
  static absl::StatusOr<ConsumedLock> Take(int fd) {
    if (Set(fd, F_WRLCK) == 0) return ConsumedLock(fd);
    if (errno == EAGAIN || errno == EACCES) {
      return absl::FailedPreconditionError("another process is resuming from this state right now");
    }
    return ErrnoStatus(errno, "lock the state memfd");
  }
  ConsumedLock(ConsumedLock&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  ConsumedLock& operator=(ConsumedLock&&) = delete;
  ~ConsumedLock() {
    if (fd_ >= 0) Set(fd_, F_UNLCK);
  }

 private:
  explicit ConsumedLock(int fd) : fd_(fd) {}

  static int Set(int fd, short type) {
    struct flock lock = {};
    lock.l_type = type;
    lock.l_whence = SEEK_SET;
    lock.l_start = offsetof(StateHeader, consumed);
    lock.l_len = sizeof(StateHeader::consumed);
    return fcntl(fd, F_SETLK, &lock);
  }

  int fd_;
};

}  // namespace

absl::StatusOr<UniqueFd> WriteStateMemfd(const Tree& state) {
  RETURN_IF_ERROR(CheckSchema(state));
  ASSIGN_OR_RETURN(std::vector<uint8_t> payload, EncodeTree(state));
  ASSIGN_OR_RETURN(UniqueFd fd, CreateMemfd());
  RETURN_IF_ERROR(WriteAll(fd.get(), FrameState(payload), 0));
  if (fcntl(fd.get(), F_ADD_SEALS, kSeals) < 0) return ErrnoStatus(errno, "seal the state memfd");
  return fd;
}

absl::StatusOr<Tree> ReadStateMemfd(int fd) {
  struct stat info;
  if (fstat(fd, &info) < 0) return ErrnoStatus(errno, "look at the state memfd");
  if (!S_ISREG(info.st_mode)) return absl::InvalidArgumentError("the state is not in a memfd");
  if (info.st_size > static_cast<off_t>(kMaxStateBytes)) {
    return absl::InvalidArgumentError(
        absl::StrCat("state of ", info.st_size, " bytes; at most ", kMaxStateBytes));
  }
  std::vector<uint8_t> file(info.st_size);
  RETURN_IF_ERROR(ReadAll(fd, absl::MakeSpan(file), 0));
  ASSIGN_OR_RETURN(absl::Span<const uint8_t> payload, UnframeState(file));
  ASSIGN_OR_RETURN(Tree state, DecodeTree(payload));
  RETURN_IF_ERROR(CheckSchema(state));
  return state;
}

absl::Status MarkConsumed(int fd) {
  ASSIGN_OR_RETURN(ConsumedLock lock, ConsumedLock::Take(fd));
  uint32_t consumed;
  RETURN_IF_ERROR(ReadAll(fd, AsBytes(consumed), offsetof(StateHeader, consumed)));
  if (consumed != kStateFresh) {
    return absl::FailedPreconditionError(
        "this VM already ran on from this state; its memory no longer matches");
  }
  consumed = kStateConsumed;
  return WriteAll(fd, AsBytes(consumed), offsetof(StateHeader, consumed));
}

}  // namespace vmm
