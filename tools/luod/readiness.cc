#include "tools/luod/readiness.h"

#include <errno.h>
#include <stddef.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace vmm {

absl::Status NotifyReady(const std::string& address) {
  if (address.empty()) return absl::OkStatus();
  const std::string what = absl::StrCat("NOTIFY_SOCKET ", address);
  sockaddr_un name = {.sun_family = AF_UNIX};
  if (address.size() >= sizeof(name.sun_path)) return ErrnoStatus(ENAMETOOLONG, what);
  memcpy(name.sun_path, address.data(), address.size());
  const bool is_abstract = address[0] == '@';
  if (is_abstract) name.sun_path[0] = '\0';
  // An abstract name has no end of its own: its length says it.
  const size_t size = offsetof(sockaddr_un, sun_path) + address.size() + (is_abstract ? 0 : 1);

  UniqueFd socket_fd(socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0));
  if (!socket_fd.valid()) return ErrnoStatus(errno, "socket");
  constexpr absl::string_view kReady = "READY=1";
  if (sendto(socket_fd.get(), kReady.data(), kReady.size(), MSG_NOSIGNAL | MSG_DONTWAIT,
             reinterpret_cast<const sockaddr*>(&name), size) < 0) {
    return ErrnoStatus(errno, what);
  }
  return absl::OkStatus();
}

}  // namespace vmm
