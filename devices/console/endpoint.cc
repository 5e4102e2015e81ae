#include "devices/console/endpoint.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace vmm {
namespace {

// For whoever reads at once, but may pause; a guest writes some 100 KiB while it boots.
constexpr size_t kAttachedCapacity = 256 << 10;
// For whoever comes later: the last screens.
constexpr size_t kSocketCapacity = 64 << 10;

absl::StatusOr<UniqueFd> Duplicate(int fd, absl::string_view what) {
  UniqueFd copy(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return ErrnoStatus(errno, what);
  return copy;
}

absl::StatusOr<ConsoleEndpoint> OpenFileEndpoint(const std::string& path) {
  if (path.empty()) return absl::InvalidArgumentError("console file: without a path");
  // O_NONBLOCK is for what else may lie there: a FIFO without a reader is an error, not a wait.
  UniqueFd fd(
      open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_NONBLOCK | O_NOCTTY | O_CLOEXEC, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, path);
  ConsoleEndpoint endpoint;
  endpoint.output = std::move(fd);
  endpoint.capacity = kAttachedCapacity;
  return endpoint;
}

absl::StatusOr<ConsoleEndpoint> OpenSocketEndpoint(absl::string_view path) {
  ASSIGN_OR_RETURN(UnixListener listener, UnixListener::Listen(path));
  ConsoleEndpoint endpoint;
  endpoint.listener.emplace(std::move(listener));
  endpoint.capacity = kSocketCapacity;
  return endpoint;
}

}  // namespace

absl::StatusOr<ConsoleEndpoint> OpenTtyEndpoint(int input, int output) {
  ConsoleEndpoint endpoint;
  endpoint.capacity = kAttachedCapacity;
  ASSIGN_OR_RETURN(endpoint.input, Duplicate(input, "standard input"));

  struct stat info;
  if (fstat(output, &info) < 0) return ErrnoStatus(errno, "standard output");
  if (S_ISCHR(info.st_mode) || S_ISFIFO(info.st_mode)) {
    // O_NONBLOCK belongs to the open file, which the shell and others share: open one of our own.
    const std::string self = absl::StrCat("/proc/self/fd/", output);
    endpoint.output.Reset(open(self.c_str(), O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  }
  if (!endpoint.output.valid()) {
    ASSIGN_OR_RETURN(endpoint.output, Duplicate(output, "standard output"));
    endpoint.output_blocks = !S_ISREG(info.st_mode);
  }
  if (isatty(input)) {
    ASSIGN_OR_RETURN(RawTerminal terminal, RawTerminal::Enter(input));
    endpoint.terminal.emplace(std::move(terminal));
  }
  return endpoint;
}

absl::StatusOr<ConsoleEndpoint> OpenConsoleEndpoint(absl::string_view specification) {
  absl::string_view path = specification;
  if (specification == "tty") return OpenTtyEndpoint(STDIN_FILENO, STDOUT_FILENO);
  if (specification == "none" || specification == "null") return ConsoleEndpoint();
  if (absl::ConsumePrefix(&path, "file:")) return OpenFileEndpoint(std::string(path));
  if (absl::ConsumePrefix(&path, "socket:")) return OpenSocketEndpoint(path);
  return absl::InvalidArgumentError(absl::StrCat(
      "console \"", specification, "\" is none of tty, file:PATH, socket:PATH, none, null"));
}

}  // namespace vmm
