// Holds a guest's console for a test: what the guest prints is appended to a file, what is written
// into a FIFO goes to the guest.
//
//   console_client SOCKET LOG FIFO
//
// SOCKET is that of `vmm run --serial socket:SOCKET`. It is connected to again and again, for as
// long as this runs: the VMM behind it may not be there yet, or may make room for another. The FIFO
// is made if need be.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace {

using vmm::UniqueFd;

constexpr useconds_t kRetryMicroseconds = 20'000;

UniqueFd Connect(const char* path) {
  sockaddr_un address = {};
  address.sun_family = AF_UNIX;
  strncpy(address.sun_path, path, sizeof(address.sun_path) - 1);
  UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
  const auto* generic = reinterpret_cast<const sockaddr*>(&address);
  if (fd.valid() && connect(fd.get(), generic, sizeof(address)) < 0) fd.Reset();
  return fd;
}

// Passes on what can be read at once. False at the end of `from`, or when `to` takes no more.
bool Carry(int from, int to) {
  char buffer[4096];
  const ssize_t length = read(from, buffer, sizeof(buffer));
  if (length < 0) return errno == EINTR;
  for (ssize_t done = 0; done < length;) {
    const ssize_t written = write(to, buffer + done, length - done);
    if (written < 0) return false;
    done += written;
  }
  return length > 0;
}

int Run(const char* socket_path, const char* log_path, const char* fifo_path) {
  if (strlen(socket_path) >= sizeof(sockaddr_un::sun_path)) {
    fprintf(stderr, "console_client: %s: too long for a socket\n", socket_path);
    return 2;
  }
  const UniqueFd log(open(log_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (mkfifo(fifo_path, 0600) < 0 && errno != EEXIST) perror(fifo_path);
  // Open for both, so that it does not end when a writer goes.
  const UniqueFd fifo(open(fifo_path, O_RDWR | O_CLOEXEC));
  if (!log.valid() || !fifo.valid()) {
    perror(log.valid() ? fifo_path : log_path);
    return 1;
  }
  signal(SIGPIPE, SIG_IGN);
  while (true) {
    const UniqueFd console = Connect(socket_path);
    if (!console.valid()) {
      usleep(kRetryMicroseconds);
      continue;
    }
    bool connected = true;
    while (connected) {
      pollfd polled[] = {{console.get(), POLLIN, 0}, {fifo.get(), POLLIN, 0}};
      if (poll(polled, 2, -1) < 0) continue;
      if (polled[0].revents != 0) connected = Carry(console.get(), log.get());
      if (connected && polled[1].revents != 0) connected = Carry(fifo.get(), console.get());
    }
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: console_client SOCKET LOG FIFO\n");
    return 2;
  }
  return Run(argv[1], argv[2], argv[3]);
}
