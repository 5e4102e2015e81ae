#include "tools/luod/host.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <iterator>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/versions/kernel_versions.h"
#include "tools/luod/next_command_line.h"

namespace vmm {

absl::Status SystemHost::CheckKernel(int kernel_fd) {
  ASSIGN_OR_RETURN(luo::LiveUpdateVersions next, luo::ReadKernelVersions(kernel_fd));
  return luo::CheckCompatible(luo::RunningKernelVersions(), next);
}

absl::Status SystemHost::CheckCommandLine(const std::string& command_line) {
  std::ifstream file("/proc/cmdline");
  const std::string running{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  if (running.empty()) return absl::UnavailableError("/proc/cmdline cannot be read");
  return CheckNextCommandLine(command_line, running);
}

absl::Status SystemHost::CheckProgram(const std::string& path) {
  if (access(path.c_str(), X_OK) == 0) return absl::OkStatus();
  return ErrnoStatus(
      errno, absl::StrCat("its program ", path, ", which the next kernel would resume it by"));
}

absl::StatusOr<uint64_t> SystemHost::AvailableMemory() {
  std::ifstream file("/proc/meminfo");
  std::string line;
  while (std::getline(file, line)) {
    uint64_t kib;
    // proc(5): "MemAvailable:    1234 kB".
    if (line.rfind("MemAvailable:", 0) == 0 &&
        absl::SimpleAtoi(line.substr(13, line.rfind(" kB") - 13), &kib)) {
      return kib << 10;
    }
  }
  return absl::UnavailableError("/proc/meminfo does not say MemAvailable");
}

absl::Status SystemHost::Sync(std::chrono::milliseconds timeout) {
  // In a process of its own: sync(2) waits for a dead disk or server for ever, and nothing ends it.
  const pid_t child = fork();
  if (child < 0) return ErrnoStatus(errno, "fork");
  if (child == 0) {
    // Sessions and connections must not live as long as this one might.
    close_range(0, ~0U, 0);
    sync();
    _exit(0);
  }
  const UniqueFd done(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  if (!done.valid()) return ErrnoStatus(errno, "pidfd_open");
  pollfd poll_fd = {done.get(), POLLIN, 0};
  int ready;
  do {
    ready = poll(&poll_fd, 1, static_cast<int>(timeout.count()));
  } while (ready < 0 && errno == EINTR);
  if (ready > 0) {
    waitpid(child, nullptr, 0);
    return absl::OkStatus();
  }
  // Ends once it can; whoever reaps luod's children takes it then.
  kill(child, SIGKILL);
  return absl::DeadlineExceededError(
      absl::StrCat("the host's file systems were not written back in ", timeout.count() / 1000,
                   " s: a disk or a server does not answer"));
}

}  // namespace vmm
