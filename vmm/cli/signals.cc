#include "vmm/cli/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "base/status.h"

namespace vmm {
namespace {

constexpr int kEndSignals[] = {SIGTERM, SIGINT, SIGHUP};

}  // namespace

absl::StatusOr<UniqueFd> BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : kEndSignals) sigaddset(&set, number);
  sigaddset(&set, SIGPWR);
  if (int error = pthread_sigmask(SIG_BLOCK, &set, nullptr)) {
    return ErrnoStatus(error, "pthread_sigmask");
  }
  signal(SIGPIPE, SIG_IGN);
  UniqueFd fd(signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus(errno, "signalfd");
  return fd;
}

int ReadSignal(int signals) {
  signalfd_siginfo info = {};
  if (read(signals, &info, sizeof(info)) != sizeof(info)) return 0;
  return static_cast<int>(info.ssi_signo);
}

int PendingEndSignal() {
  sigset_t pending;
  if (sigpending(&pending) < 0) return 0;
  for (int number : kEndSignals) {
    if (sigismember(&pending, number) == 1) return number;
  }
  return 0;
}

}  // namespace vmm
