#include "tools/luod/supervisor.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "base/status.h"
#include "tools/luod/log.h"

namespace vmm {
namespace {

// A worker that dies at once is not started again without end at full speed.
constexpr std::chrono::seconds kShortLife{1};

struct OpenFd {
  int fd;
  std::string link;
};

// The descriptors past the standard streams.
absl::StatusOr<std::vector<OpenFd>> ListFds() {
  DIR* directory = opendir("/proc/self/fd");
  if (directory == nullptr) return ErrnoStatus(errno, "/proc/self/fd");
  std::vector<OpenFd> all;
  while (dirent* entry = readdir(directory)) {
    int fd;
    if (!absl::SimpleAtoi(entry->d_name, &fd) || fd <= STDERR_FILENO || fd == dirfd(directory)) {
      continue;
    }
    char link[256];
    ssize_t length = readlinkat(dirfd(directory), entry->d_name, link, sizeof(link));
    if (length >= 0) all.push_back({fd, std::string(link, length)});
  }
  closedir(directory);
  return all;
}

void CloseAllBut(absl::string_view kept) {
  absl::StatusOr<std::vector<OpenFd>> fds = ListFds();
  if (!fds.ok()) return;
  for (const OpenFd& open : *fds) {
    if (!absl::StartsWith(open.link, kept)) close(open.fd);
  }
}

sigset_t SupervisedSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int signal : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&set, signal);
  return set;
}

// fork(), but with the table of descriptors shared. Single-threaded callers only, as libc's own
// fork hooks do not run.
pid_t ForkSharingFds() {
  return static_cast<pid_t>(syscall(SYS_clone, CLONE_FILES | SIGCHLD, 0, 0, 0, 0));
}

// Waits for the worker's end, passing signals on; its wait status.
int WaitFor(pid_t worker) {
  const sigset_t signals = SupervisedSignals();
  for (;;) {
    int wait_status;
    if (waitpid(worker, &wait_status, WNOHANG) == worker) return wait_status;
    int signal = sigwaitinfo(&signals, nullptr);
    if (signal == SIGTERM || signal == SIGINT) kill(worker, SIGTERM);
  }
}

}  // namespace

int Supervise(const std::function<int(bool restarted)>& worker, absl::string_view kept) {
  const sigset_t signals = SupervisedSignals();
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  const pid_t supervisor = getpid();
  for (bool restarted = false;; restarted = true) {
    auto start = std::chrono::steady_clock::now();
    pid_t child = ForkSharingFds();
    if (child < 0) {
      Log(std::string(ErrnoStatus(errno, "clone").message()));
      return EXIT_FAILURE;
    }
    if (child == 0) {
      prctl(PR_SET_PDEATHSIG, SIGTERM);
      if (getppid() != supervisor) raise(SIGTERM);
      exit(worker(restarted));
    }
    int wait_status = WaitFor(child);
    if (WIFEXITED(wait_status)) return WEXITSTATUS(wait_status);
    CloseAllBut(kept);
    Log(absl::StrCat("killed by signal ", WTERMSIG(wait_status), ", starting again"));
    if (std::chrono::steady_clock::now() - start < kShortLife) {
      std::this_thread::sleep_for(kShortLife);
    }
  }
}

absl::StatusOr<std::map<std::string, UniqueFd>> TakeHeldSessions(absl::string_view kept) {
  ASSIGN_OR_RETURN(std::vector<OpenFd> fds, ListFds());
  std::map<std::string, UniqueFd> sessions;
  for (OpenFd& open : fds) {
    absl::string_view name = open.link;
    if (absl::ConsumePrefix(&name, kept)) {
      // A second descriptor of one session is closed here; the first keeps it.
      sessions.emplace(std::string(name), UniqueFd(open.fd));
    }
  }
  return sessions;
}

}  // namespace vmm
