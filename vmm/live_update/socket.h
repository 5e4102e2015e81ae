// The AF_UNIX SOCK_SEQPACKET socket on which luod is reached: listening, connecting, and who is at
// the other end.
//
//   ASSIGN_OR_RETURN(UniqueFd listener, ListenOn(kDefaultSocketPath));   // luod
//   ASSIGN_OR_RETURN(UniqueFd luod, ConnectTo(kDefaultSocketPath));      // vmm, luoctl
//
// Every socket made here is close-on-exec. No function keeps state.
#ifndef VMM_LIVE_UPDATE_SOCKET_H_
#define VMM_LIVE_UPDATE_SOCKET_H_

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace vmm {

inline constexpr char kDefaultSocketPath[] = "/run/luod/luod.sock";

// A listening, non-blocking socket at `path`. Its folder is created with mode 0700 when it does not
// exist, and refused (kPermissionDenied) when it belongs to somebody else or others may write in
// it. A socket left behind by a dead process is replaced; kAlreadyExists when a live one answers
// there.
absl::StatusOr<UniqueFd> ListenOn(const std::string& path);

// A blocking, connected socket, after CheckPeer(). kUnavailable when nobody listens at `path`.
absl::StatusOr<UniqueFd> ConnectTo(const std::string& path);

// kPermissionDenied unless the process at the other end is root's or runs as this process's user:
// descriptors of guest memory pass here, in both directions.
absl::Status CheckPeer(int socket);

}  // namespace vmm

#endif  // VMM_LIVE_UPDATE_SOCKET_H_
