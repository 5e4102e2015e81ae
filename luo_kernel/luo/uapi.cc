#include "luo_kernel/luo/uapi.h"

#include <errno.h>
#include <linux/liveupdate.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>

#include <algorithm>
#include <atomic>
#include <iterator>
#include <memory>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/status.h"

namespace luo {
namespace {

// What the caller asked: its structure, cut or filled up with zeros to the size known here.
template <typename T>
struct Request {
  T value = {};
  uint32_t user_size = 0;
};

// copy_struct_from_user(): what is longer than T has to be zero there.
template <typename T>
int ReadRequest(absl::Span<const uint8_t> bytes, size_t min_size, Request<T>* request) {
  memcpy(&request->user_size, bytes.data(), sizeof(request->user_size));
  const size_t size = request->user_size;
  if (size < min_size) return EINVAL;
  if (size > kMaxIoctlBytes) return E2BIG;
  if (size > bytes.size()) return EFAULT;
  const absl::Span<const uint8_t> user = bytes.first(size);
  if (size > sizeof(T) &&
      std::any_of(user.begin() + sizeof(T), user.end(), [](uint8_t byte) { return byte != 0; })) {
    return E2BIG;
  }
  memcpy(&request->value, user.data(), std::min(size, sizeof(T)));
  return 0;
}

template <typename T>
int Respond(const Request<T>& request, absl::Span<uint8_t> bytes) {
  memcpy(bytes.data(), &request.value, std::min<size_t>(request.user_size, sizeof(T)));
  return 0;
}

template <size_t N>
absl::string_view NameIn(const uint8_t (&name)[N]) {
  const char* text = reinterpret_cast<const char*>(name);
  return absl::string_view(text, strnlen(text, N));
}

int CreateSession(LiveUpdate& live_update, absl::Span<uint8_t> bytes, FdPasser& fds) {
  Request<liveupdate_ioctl_create_session> request;
  if (const int error = ReadRequest(bytes, sizeof(request.value), &request)) return error;
  absl::StatusOr<std::unique_ptr<Session>> session =
      live_update.CreateSession(NameIn(request.value.name));
  if (!session.ok()) return IoctlErrno(session.status());
  const absl::StatusOr<int> number =
      fds.Install(std::make_unique<SessionFile>(*std::move(session)));
  if (!number.ok()) return IoctlErrno(number.status());
  request.value.fd = *number;
  return Respond(request, bytes);
}

int RetrieveSession(LiveUpdate& live_update, absl::Span<uint8_t> bytes, FdPasser& fds) {
  Request<liveupdate_ioctl_retrieve_session> request;
  if (const int error = ReadRequest(bytes, sizeof(request.value), &request)) return error;
  absl::StatusOr<std::unique_ptr<Session>> session =
      live_update.RetrieveSession(NameIn(request.value.name));
  if (!session.ok()) return IoctlErrno(session.status());
  // Its close would finish the session and give back what it holds; where the caller has no room
  // for the descriptor, it must stay to be retrieved again.
  const std::shared_ptr<std::atomic<bool>> kept = (*session)->PutBackUnlessKept();
  const absl::StatusOr<int> number =
      fds.Install(std::make_unique<SessionFile>(*std::move(session)));
  if (!number.ok()) return IoctlErrno(number.status());
  *kept = true;
  request.value.fd = *number;
  return Respond(request, bytes);
}

int PreserveFd(Session& session, absl::Span<uint8_t> bytes, FdPasser& fds) {
  Request<liveupdate_session_preserve_fd> request;
  if (const int error = ReadRequest(bytes, sizeof(request.value), &request)) return error;
  const int number = request.value.fd;
  const absl::Status status =
      session.PreserveFd(request.value.token, [&fds, number] { return fds.Take(number); });
  return status.ok() ? Respond(request, bytes) : IoctlErrno(status);
}

int RetrieveFd(Session& session, absl::Span<uint8_t> bytes, FdPasser& fds) {
  Request<liveupdate_session_retrieve_fd> request;
  if (const int error = ReadRequest(bytes, sizeof(request.value), &request)) return error;
  absl::StatusOr<vmm::UniqueFd> file = session.RetrieveFd(request.value.token);
  if (!file.ok()) return IoctlErrno(file.status());
  const absl::StatusOr<int> number = fds.Install(*std::move(file));
  if (!number.ok()) return IoctlErrno(number.status());
  request.value.fd = *number;
  return Respond(request, bytes);
}

int Finish(Session& session, absl::Span<uint8_t> bytes, FdPasser&) {
  Request<liveupdate_session_finish> request;
  if (const int error = ReadRequest(bytes, sizeof(request.value), &request)) return error;
  if (request.value.reserved != 0) return EINVAL;
  const absl::Status status = session.Finish();
  return status.ok() ? Respond(request, bytes) : IoctlErrno(status);
}

int GetName(Session& session, absl::Span<uint8_t> bytes, FdPasser&) {
  Request<liveupdate_session_get_name> request;
  if (const int error = ReadRequest(bytes, sizeof(request.value), &request)) return error;
  if (request.value.reserved != 0) return EINVAL;
  const std::string& name = session.name();
  // strscpy() leaves what follows the NUL as it was.
  memcpy(request.value.name, name.c_str(), name.size() + 1);
  return Respond(request, bytes);
}

enum class Direction { kOutgoing, kIncoming, kBoth };

struct SessionIoctl {
  uint32_t command;
  Direction direction;
  int (*execute)(Session&, absl::Span<uint8_t>, FdPasser&);
};

constexpr SessionIoctl kSessionIoctls[] = {
    {LIVEUPDATE_SESSION_PRESERVE_FD, Direction::kOutgoing, PreserveFd},
    {LIVEUPDATE_SESSION_RETRIEVE_FD, Direction::kIncoming, RetrieveFd},
    {LIVEUPDATE_SESSION_FINISH, Direction::kIncoming, Finish},
    {LIVEUPDATE_SESSION_GET_NAME, Direction::kBoth, GetName},
};

constexpr struct {
  uint32_t command;
  int (*execute)(LiveUpdate&, absl::Span<uint8_t>, FdPasser&);
} kDeviceIoctls[] = {
    {LIVEUPDATE_IOCTL_CREATE_SESSION, CreateSession},
    {LIVEUPDATE_IOCTL_RETRIEVE_SESSION, RetrieveSession},
};

}  // namespace

int IoctlErrno(const absl::Status& status) {
  if (status.ok()) return 0;
  if (const int error = vmm::StatusErrno(status)) return error;
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
      return EINVAL;
    case absl::StatusCode::kNotFound:
      return ENOENT;
    case absl::StatusCode::kAlreadyExists:
      return EEXIST;
    case absl::StatusCode::kPermissionDenied:
      return EPERM;
    case absl::StatusCode::kResourceExhausted:
      return ENOMEM;
    case absl::StatusCode::kFailedPrecondition:
      return EBUSY;
    case absl::StatusCode::kOutOfRange:
      return EFBIG;
    case absl::StatusCode::kUnimplemented:
      return EOPNOTSUPP;
    case absl::StatusCode::kUnavailable:
      return EAGAIN;
    default:
      return EIO;
  }
}

absl::StatusOr<std::unique_ptr<DeviceFile>> DeviceFile::Open(
    std::shared_ptr<LiveUpdate> live_update) {
  RETURN_IF_ERROR(live_update->OpenDevice());
  return std::unique_ptr<DeviceFile>(new DeviceFile(std::move(live_update)));
}

DeviceFile::DeviceFile(std::shared_ptr<LiveUpdate> live_update)
    : live_update_(std::move(live_update)) {}

DeviceFile::~DeviceFile() { live_update_->CloseDevice(); }

int DeviceFile::Ioctl(uint32_t command, absl::Span<uint8_t> bytes, FdPasser& fds) {
  const size_t number = _IOC_NR(command) - LIVEUPDATE_CMD_BASE;
  if (number >= std::size(kDeviceIoctls)) return EINVAL;
  if (bytes.size() < sizeof(uint32_t)) return EFAULT;
  if (kDeviceIoctls[number].command != command) return ENOTTY;
  return kDeviceIoctls[number].execute(*live_update_, bytes, fds);
}

SessionFile::SessionFile(std::unique_ptr<Session> session) : session_(std::move(session)) {}

SessionFile::~SessionFile() = default;

int SessionFile::Ioctl(uint32_t command, absl::Span<uint8_t> bytes, FdPasser& fds) {
  const size_t number = _IOC_NR(command) - size_t{LIVEUPDATE_CMD_SESSION_BASE};
  if (number >= std::size(kSessionIoctls)) return EINVAL;
  if (bytes.size() < sizeof(uint32_t)) return EFAULT;
  const SessionIoctl& ioctl = kSessionIoctls[number];
  if (ioctl.command != command) return ENOTTY;
  const Direction direction = session_->incoming() ? Direction::kIncoming : Direction::kOutgoing;
  if (ioctl.direction != Direction::kBoth && ioctl.direction != direction) return EINVAL;
  return ioctl.execute(*session_, bytes, fds);
}

}  // namespace luo
