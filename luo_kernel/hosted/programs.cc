#include "luo_kernel/hosted/programs.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <map>
#include <optional>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "luo_kernel/hosted/inspect_socket.h"
#include "luo_kernel/hosted/seccomp_listener.h"

namespace luo {
namespace {

// What one instance can well use; the kernel's own bound is /proc/sys/fs/nr_open, by default this.
constexpr rlim_t kMostFiles = 1 << 20;

// Set by RaiseFileLimit().
std::optional<rlimit> limit_before;

// What the child says: first of the filter, with its listener, then of exec, if that fails.
struct Report {
  int error;
};

[[noreturn]] void RunChild(int socket, char* const* arguments) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (limit_before) setrlimit(RLIMIT_NOFILE, &*limit_before);
  const int listener = FilterThisThread();
  Report report = {listener < 0 ? -listener : 0};
  const auto bytes = absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&report), sizeof(report));
  const absl::Status sent =
      listener < 0 ? SendPacket(socket, bytes, {}) : SendPacket(socket, bytes, {listener});
  if (listener >= 0 && sent.ok()) {
    close(listener);
    execvp(arguments[0], arguments);
    report.error = errno;
    SendPacket(socket, bytes, {}).IgnoreError();
  }
  _exit(EXIT_FAILURE);
}

// {process: its parent}, of all that can be seen.
std::map<pid_t, pid_t> ListProcesses() {
  std::map<pid_t, pid_t> parents;
  DIR* directory = opendir("/proc");
  if (directory == nullptr) return parents;
  while (const dirent* entry = readdir(directory)) {
    int process;
    if (!absl::SimpleAtoi(entry->d_name, &process)) continue;
    vmm::UniqueFd file(
        open(absl::StrCat("/proc/", process, "/stat").c_str(), O_RDONLY | O_CLOEXEC));
    char text[1024] = {};
    if (!file.valid() || read(file.get(), text, sizeof(text) - 1) <= 0) continue;
    // proc(5): the name, in parentheses, may have any characters; the parent comes after the state.
    const char* rest = strrchr(text, ')');
    int parent;
    if (rest != nullptr && sscanf(rest, ") %*c %d", &parent) == 1) parents[process] = parent;
  }
  closedir(directory);
  return parents;
}

std::vector<pid_t> Descendants() {
  const std::map<pid_t, pid_t> parents = ListProcesses();
  std::vector<pid_t> found;
  for (const auto& [process, parent] : parents) {
    pid_t ancestor = parent;
    // As many steps as there are processes: the list is of no one moment, so there may be circles.
    for (size_t i = 0; i < parents.size() && ancestor > 1 && ancestor != getpid(); ++i) {
      const auto next = parents.find(ancestor);
      ancestor = next == parents.end() ? 0 : next->second;
    }
    if (ancestor == getpid()) found.push_back(process);
  }
  return found;
}

}  // namespace

absl::Status AdoptOrphans() {
  if (prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) < 0) {
    return vmm::ErrnoStatus(errno, "PR_SET_CHILD_SUBREAPER");
  }
  return absl::OkStatus();
}

void RaiseFileLimit() {
  rlimit limit;
  if (getrlimit(RLIMIT_NOFILE, &limit) < 0) return;
  if (!limit_before) limit_before = limit;
  // Only root may pass the hard limit.
  const rlimit most = {std::max(limit.rlim_max, kMostFiles), std::max(limit.rlim_max, kMostFiles)};
  limit.rlim_cur = limit.rlim_max;
  if (setrlimit(RLIMIT_NOFILE, &most) < 0) setrlimit(RLIMIT_NOFILE, &limit);
}

absl::StatusOr<Program> StartProgram(
    const std::vector<std::string>& command,
    const std::vector<std::pair<std::string, std::string>>& environment) {
  if (command.empty()) return absl::InvalidArgumentError("no program given");
  int pair[2];
  if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0) {
    return vmm::ErrnoStatus(errno, "socketpair");
  }
  vmm::UniqueFd ours(pair[0]), theirs(pair[1]);
  std::vector<char*> arguments;
  for (const std::string& argument : command) {
    arguments.push_back(const_cast<char*>(argument.c_str()));
  }
  arguments.push_back(nullptr);

  Program program;
  program.process = fork();
  if (program.process < 0) return vmm::ErrnoStatus(errno, "fork");
  if (program.process == 0) {
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    RunChild(theirs.get(), arguments.data());
  }
  theirs.Reset();

  absl::Status status;
  absl::StatusOr<Packet> filtered = ReceivePacket(ours.get(), sizeof(Report));
  Report report = {};
  if (!filtered.ok() || filtered->bytes.size() != sizeof(report)) {
    status = vmm::ErrnoStatus(ESRCH, "the program died before it was filtered");
  } else if (memcpy(&report, filtered->bytes.data(), sizeof(report)); report.error != 0) {
    status = ExplainFilterError(report.error);
  } else if (filtered->files.size() != 1) {
    status = vmm::ErrnoStatus(EMFILE, "the program's seccomp listener");
  } else {
    program.listener = std::move(filtered->files[0]);
    // The connection ends by exec.
    const absl::StatusOr<Packet> executed = ReceivePacket(ours.get(), sizeof(Report));
    if (executed.ok() && executed->bytes.size() == sizeof(report)) {
      memcpy(&report, executed->bytes.data(), sizeof(report));
      status = vmm::ErrnoStatus(report.error, command[0]);
    }
  }
  if (status.ok()) return program;
  kill(program.process, SIGKILL);
  waitpid(program.process, nullptr, 0);
  return status;
}

void EndDescendants() {
  for (;;) {
    for (pid_t process : Descendants()) kill(process, SIGKILL);
    // Orphans of those that ended come here, and are found the next time.
    if (waitpid(-1, nullptr, 0) < 0 && errno == ECHILD) return;
    while (waitpid(-1, nullptr, WNOHANG) > 0) {
    }
  }
}

int ExitCode(int wait_status) {
  return WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : 128 + WTERMSIG(wait_status);
}

absl::StatusOr<vmm::UniqueFd> TakeSignals(const std::vector<int>& signals) {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : signals) sigaddset(&set, signal);
  sigprocmask(SIG_BLOCK, &set, nullptr);
  vmm::UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return vmm::ErrnoStatus(errno, "signalfd");
  return fd;
}

}  // namespace luo
