#include "vmm/cli/name_lock.h"

#include <errno.h>
#include <stddef.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <algorithm>
#include <string>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace vmm {

absl::StatusOr<NameLock> NameLock::Acquire(absl::string_view name) {
  UniqueFd socket(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  if (!socket.valid()) return ErrnoStatus(errno, "socket");
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  // A leading NUL makes the address abstract (unix(7)).
  const std::string path = absl::StrCat(absl::string_view("\0", 1), "vmm/", name);
  if (path.size() > sizeof(address.sun_path)) return absl::InvalidArgumentError("name too long");
  std::copy(path.begin(), path.end(), address.sun_path);
  const socklen_t length = offsetof(sockaddr_un, sun_path) + path.size();
  if (bind(socket.get(), reinterpret_cast<const sockaddr*>(&address), length) < 0) {
    if (errno == EADDRINUSE) {
      return absl::AlreadyExistsError(
          absl::StrCat("--name ", name, " is taken: a VM of that name runs on this host"));
    }
    return ErrnoStatus(errno, absl::StrCat("locking the name ", name));
  }
  return NameLock(std::move(socket));
}

}  // namespace vmm
