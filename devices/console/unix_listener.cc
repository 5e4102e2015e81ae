#include "devices/console/unix_listener.h"

#include <errno.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace vmm {
namespace {

absl::StatusOr<UniqueFd> StreamSocket() {
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  return fd;
}

// Removes what lies at `address` when it is a socket that nobody listens on.
absl::Status RemoveStale(const sockaddr_un& address) {
  const std::string path = address.sun_path;
  struct stat info;
  if (lstat(path.c_str(), &info) < 0) return ErrnoStatus(errno, path);
  if (!S_ISSOCK(info.st_mode)) {
    return absl::AlreadyExistsError(absl::StrCat(path, " exists and is not a socket"));
  }
  ASSIGN_OR_RETURN(UniqueFd probe, StreamSocket());
  const bool refused =
      connect(probe.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0 &&
      errno == ECONNREFUSED;
  if (!refused) {
    return absl::AlreadyExistsError(absl::StrCat("another process listens on ", path));
  }
  if (unlink(path.c_str()) < 0) return ErrnoStatus(errno, path);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UnixListener> UnixListener::Listen(absl::string_view path) {
  sockaddr_un address = {.sun_family = AF_UNIX, .sun_path = {}};
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("socket path \"", path, "\" must have 1 to ",
                                                   sizeof(address.sun_path) - 1, " bytes"));
  }
  path.copy(address.sun_path, path.size());

  ASSIGN_OR_RETURN(UniqueFd fd, StreamSocket());
  // The file takes its mode from the socket: nobody else gets in, not even for a moment.
  if (fchmod(fd.get(), 0600) < 0) return ErrnoStatus(errno, path);
  const auto try_bind = [&] {
    return bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address));
  };
  if (try_bind() < 0) {
    if (errno != EADDRINUSE) return ErrnoStatus(errno, path);
    RETURN_IF_ERROR(RemoveStale(address));
    if (try_bind() < 0) return ErrnoStatus(errno, path);
  }
  struct stat info;
  if (lstat(address.sun_path, &info) < 0) return ErrnoStatus(errno, path);
  UnixListener listener(std::move(fd), path);
  listener.device_ = info.st_dev;
  listener.inode_ = info.st_ino;
  if (listen(listener.fd(), SOMAXCONN) < 0) return ErrnoStatus(errno, path);
  return listener;
}

UnixListener::~UnixListener() {
  struct stat info;
  if (fd_.valid() && lstat(path_.c_str(), &info) == 0 && info.st_dev == device_ &&
      info.st_ino == inode_) {
    unlink(path_.c_str());
  }
}

absl::StatusOr<UniqueFd> UnixListener::Accept() const {
  UniqueFd client(accept4(fd_.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!client.valid()) return ErrnoStatus(errno, "accept");
  return client;
}

}  // namespace vmm
