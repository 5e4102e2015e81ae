// RawTerminal: a terminal in raw mode for as long as the object lives, so that every key, Ctrl-C
// included, reaches the guest. Output processing stays on: what the VMM itself says has plain
// newlines.
//
//   ASSIGN_OR_RETURN(RawTerminal terminal, RawTerminal::Enter(STDIN_FILENO));
//
// The old settings come back when it goes, and on exit() where it was left behind. Signals are
// their handlers' business: a program that turns SIGTERM and its like into an orderly return needs
// nothing more. One at a time in a process.
#ifndef DEVICES_CONSOLE_RAW_TERMINAL_H_
#define DEVICES_CONSOLE_RAW_TERMINAL_H_

#include <termios.h>

#include <atomic>
#include <memory>
#include <utility>

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace vmm {

class RawTerminal {
 public:
  // `fd` stays the caller's. kInvalidArgument when it is no terminal, kFailedPrecondition when one
  // is raw already.
  static absl::StatusOr<RawTerminal> Enter(int fd);

  RawTerminal(RawTerminal&&) = default;
  RawTerminal& operator=(RawTerminal&&) = delete;
  ~RawTerminal();

 private:
  struct Settings {
    UniqueFd fd;
    termios old;
  };

  explicit RawTerminal(std::unique_ptr<Settings> settings) : settings_(std::move(settings)) {}
  static void Restore(Settings* settings);
  static void RestoreAtExit();

  static std::atomic<Settings*> active;

  std::unique_ptr<Settings> settings_;  // null once moved from
};

}  // namespace vmm

#endif  // DEVICES_CONSOLE_RAW_TERMINAL_H_
