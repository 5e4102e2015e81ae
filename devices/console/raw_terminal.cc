#include "devices/console/raw_terminal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>

#include "base/status.h"

namespace vmm {

std::atomic<RawTerminal::Settings*> RawTerminal::active = nullptr;

absl::StatusOr<RawTerminal> RawTerminal::Enter(int fd) {
  auto settings = std::make_unique<Settings>();
  if (tcgetattr(fd, &settings->old) < 0) return ErrnoStatus(errno, "terminal settings");
  // A descriptor of its own: the caller's may be closed by the time the settings are to come back.
  settings->fd.Reset(fcntl(fd, F_DUPFD_CLOEXEC, 0));
  if (!settings->fd.valid()) return ErrnoStatus(errno, "terminal");

  Settings* none = nullptr;
  if (!active.compare_exchange_strong(none, settings.get())) {
    return absl::FailedPreconditionError("another console has the terminal already");
  }
  [[maybe_unused]] static const int registered = atexit(RestoreAtExit);

  RawTerminal terminal(std::move(settings));
  termios raw = terminal.settings_->old;
  cfmakeraw(&raw);
  raw.c_oflag |= OPOST;
  if (tcsetattr(fd, TCSANOW, &raw) < 0) return ErrnoStatus(errno, "raw terminal");
  return terminal;
}

RawTerminal::~RawTerminal() {
  if (settings_ == nullptr) return;
  Settings* expected = settings_.get();
  if (active.compare_exchange_strong(expected, nullptr)) Restore(settings_.get());
}

// TCSANOW: to wait for output would be to wait for a terminal that may be stopped.
void RawTerminal::Restore(Settings* settings) {
  tcsetattr(settings->fd.get(), TCSANOW, &settings->old);
}

void RawTerminal::RestoreAtExit() {
  if (Settings* settings = active.exchange(nullptr)) Restore(settings);
}

}  // namespace vmm
