// UnixListener: a listening Unix stream socket at a path, for clients of the same user (mode 0600).
//
//   ASSIGN_OR_RETURN(UnixListener listener, UnixListener::Listen("/run/vmm/web1.console"));
//   poll(... listener.fd(), POLLIN ...);
//   ASSIGN_OR_RETURN(UniqueFd client, listener.Accept());
//
// Owns the socket and the path: the path is unlinked when the listener goes, unless another file
// has taken its place.
#ifndef DEVICES_CONSOLE_UNIX_LISTENER_H_
#define DEVICES_CONSOLE_UNIX_LISTENER_H_

#include <sys/types.h>

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace vmm {

class UnixListener {
 public:
  // A socket left behind at `path`, one that nobody listens on, is replaced. kAlreadyExists when
  // somebody listens there or it is another kind of file; kInvalidArgument when the path is empty
  // or too long for a socket (107 bytes).
  static absl::StatusOr<UnixListener> Listen(absl::string_view path);

  UnixListener(UnixListener&&) = default;
  UnixListener& operator=(UnixListener&&) = delete;
  ~UnixListener();

  int fd() const { return fd_.get(); }

  // The next client, non-blocking. kUnavailable when there is none.
  absl::StatusOr<UniqueFd> Accept() const;

 private:
  UnixListener(UniqueFd fd, absl::string_view path) : fd_(std::move(fd)), path_(path) {}

  UniqueFd fd_;
  std::string path_;
  dev_t device_ = 0;  // of the file at `path_`, to know it again
  ino_t inode_ = 0;
};

}  // namespace vmm

#endif  // DEVICES_CONSOLE_UNIX_LISTENER_H_
