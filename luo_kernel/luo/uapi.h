// /dev/liveupdate and its sessions as files: raw ioctls to LiveUpdate and Session. For a server
// that stands in for the kernel's device, however it comes by its clients' system calls.
//
//   absl::StatusOr<std::unique_ptr<DeviceFile>> device = DeviceFile::Open(live_update);  // EBUSY
//   ...a client calls ioctl(fd, command, argument)...
//   uint32_t size;                           // the client's memory at `argument`, 4 bytes
//   std::vector<uint8_t> bytes = ...;        // the client's memory there, IoctlBytes(size) of them
//   const int error = (*device)->Ioctl(command, absl::MakeSpan(bytes), passer);
//   ...write `bytes` back if `error` is 0, and answer the client with it...
//
// The rules are those of Linux 7.3, kernel/liveupdate/luo_{core,session}.c, in their order:
//   EINVAL   the command's number is none of the device's, or not allowed in this direction; the
//            structure is too small; a reserved field or a name is wrong
//   EFAULT   `bytes` are fewer than their own `size` says
//   ENOTTY   the number is known, the rest of the command is not that ioctl
//   E2BIG    the structure is larger than known, and not zero where it is unknown
// and then those of LiveUpdate, Session and the file handlers. Of EMFILE and another error, Linux
// says EMFILE: it looks for room in the caller's table first, here that comes last.
//
// Ownership: destroying a DeviceFile or SessionFile is the last close (release) of that file. Both
// keep their LiveUpdate alive.
//
// Threads: as LiveUpdate. One SessionFile may serve several threads.
//
// Source of commands and structures: Linux 7.3, include/uapi/linux/liveupdate.h.
#ifndef LUO_KERNEL_LUO_UAPI_H_
#define LUO_KERNEL_LUO_UAPI_H_

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"
#include "luo_kernel/luo/live_update.h"

namespace luo {

// Largest structure looked at. Linux looks at any size; past this is E2BIG here.
inline constexpr size_t kMaxIoctlBytes = 4096;

// How many bytes of the client's memory an ioctl needs whose structure says `size`: what the span
// given to Ioctl() should hold.
inline size_t IoctlBytes(uint32_t size) {
  return std::clamp<size_t>(size, sizeof(uint32_t), kMaxIoctlBytes);
}

// The errno that user space sees for `status`: the one it carries, or the nearest to its code; 0
// for OK.
int IoctlErrno(const absl::Status& status);

class SessionFile;

// The caller's descriptor table. Errors carry an errno.
class FdPasser {
 public:
  virtual ~FdPasser() = default;

  // A descriptor of our own for the file that the caller has as `number`; EBADF where it has none.
  virtual absl::StatusOr<vmm::UniqueFd> Take(int number) = 0;

  // Gives the caller a file, close-on-exec, and says its number there; EMFILE where it has no room.
  virtual absl::StatusOr<int> Install(vmm::UniqueFd file) = 0;
  virtual absl::StatusOr<int> Install(std::unique_ptr<SessionFile> session) = 0;
};

// /dev/liveupdate, opened. There is one at a time.
class DeviceFile {
 public:
  // EBUSY while another one is open. The first open reads all that the last kernel left; when that
  // fails, EIO, now and ever after.
  static absl::StatusOr<std::unique_ptr<DeviceFile>> Open(std::shared_ptr<LiveUpdate> live_update);

  DeviceFile(const DeviceFile&) = delete;
  DeviceFile& operator=(const DeviceFile&) = delete;
  ~DeviceFile();

  // LIVEUPDATE_IOCTL_CREATE_SESSION and _RETRIEVE_SESSION. 0 or an errno; `bytes` are changed only
  // on success.
  int Ioctl(uint32_t command, absl::Span<uint8_t> bytes, FdPasser& fds);

 private:
  explicit DeviceFile(std::shared_ptr<LiveUpdate> live_update);

  const std::shared_ptr<LiveUpdate> live_update_;
};

// A session's file.
class SessionFile {
 public:
  explicit SessionFile(std::unique_ptr<Session> session);
  SessionFile(const SessionFile&) = delete;
  SessionFile& operator=(const SessionFile&) = delete;
  ~SessionFile();

  // LIVEUPDATE_SESSION_PRESERVE_FD (outgoing), _RETRIEVE_FD and _FINISH (retrieved), _GET_NAME. 0
  // or an errno; `bytes` are changed only on success. A retrieved file that cannot be installed
  // stays in the session and can be retrieved again.
  int Ioctl(uint32_t command, absl::Span<uint8_t> bytes, FdPasser& fds);

  const Session& session() const { return *session_; }

 private:
  const std::unique_ptr<Session> session_;
};

}  // namespace luo

#endif  // LUO_KERNEL_LUO_UAPI_H_
