#include "vmm/cli/signals.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <sys/signalfd.h>

#include "base/status.h"

namespace vmm {

absl::StatusOr<UniqueFd> BlockSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (int number : {SIGTERM, SIGINT, SIGHUP, SIGPWR}) sigaddset(&set, number);
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

}  // namespace vmm
