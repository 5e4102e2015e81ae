#include "vmm/live_update/socket.h"

#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace vmm {
namespace {

constexpr int kBacklog = 128;
// How long a luod that hangs, with that many callers waiting, may hold another one up.
constexpr timeval kConnectTimeout = {.tv_sec = 10, .tv_usec = 0};

absl::StatusOr<sockaddr_un> AddressOf(const std::string& path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  if (path.empty() || path.size() >= sizeof(address.sun_path)) {
    return absl::InvalidArgumentError(absl::StrCat("'", path, "' is too long for a socket"));
  }
  memcpy(address.sun_path, path.data(), path.size());
  return address;
}

absl::StatusOr<UniqueFd> NewSocket(int flags) {
  UniqueFd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | flags, 0));
  if (!fd.valid()) return ErrnoStatus(errno, "socket");
  return fd;
}

absl::Status PrepareFolder(const std::string& path) {
  size_t slash = path.rfind('/');
  if (slash == std::string::npos || slash == 0) return absl::OkStatus();
  std::string folder = path.substr(0, slash);
  if (mkdir(folder.c_str(), 0700) < 0 && errno != EEXIST) return ErrnoStatus(errno, folder);
  struct stat info;
  if (lstat(folder.c_str(), &info) < 0) return ErrnoStatus(errno, folder);
  if (!S_ISDIR(info.st_mode) || info.st_uid != geteuid() || (info.st_mode & 022) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(folder, " must be a folder that only this user can write to"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<UniqueFd> ListenOn(const std::string& path) {
  ASSIGN_OR_RETURN(sockaddr_un address, AddressOf(path));
  RETURN_IF_ERROR(PrepareFolder(path));
  ASSIGN_OR_RETURN(UniqueFd fd, NewSocket(SOCK_NONBLOCK));
  auto* name = reinterpret_cast<const sockaddr*>(&address);
  if (connect(fd.get(), name, sizeof(address)) == 0 || errno == EAGAIN) {
    return absl::AlreadyExistsError(absl::StrCat("another luod listens on ", path));
  }
  if (errno == ECONNREFUSED) unlink(path.c_str());
  if (bind(fd.get(), name, sizeof(address)) < 0) return ErrnoStatus(errno, path);
  if (listen(fd.get(), kBacklog) < 0) return ErrnoStatus(errno, path);
  return fd;
}

absl::StatusOr<UniqueFd> ConnectTo(const std::string& path) {
  ASSIGN_OR_RETURN(sockaddr_un address, AddressOf(path));
  ASSIGN_OR_RETURN(UniqueFd fd, NewSocket(0));
  if (setsockopt(fd.get(), SOL_SOCKET, SO_SNDTIMEO, &kConnectTimeout, sizeof(kConnectTimeout)) <
      0) {
    return ErrnoStatus(errno, "SO_SNDTIMEO");
  }
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) < 0) {
    if (errno == ENOENT || errno == ECONNREFUSED) {
      return absl::UnavailableError(absl::StrCat("no luod listens on ", path));
    }
    if (errno == EAGAIN) {
      return absl::UnavailableError(absl::StrCat("luod takes no calls on ", path));
    }
    return ErrnoStatus(errno, path);
  }
  RETURN_IF_ERROR(CheckPeer(fd.get()));
  return fd;
}

absl::Status CheckPeer(int socket) {
  ucred peer = {};
  socklen_t size = sizeof(peer);
  if (getsockopt(socket, SOL_SOCKET, SO_PEERCRED, &peer, &size) < 0) {
    return ErrnoStatus(errno, "SO_PEERCRED");
  }
  if (peer.uid != 0 && peer.uid != geteuid()) {
    return absl::PermissionDeniedError(
        absl::StrCat("process ", peer.pid, " of user ", peer.uid, " may not talk to this one"));
  }
  return absl::OkStatus();
}

}  // namespace vmm
