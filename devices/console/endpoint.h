// ConsoleEndpoint: the descriptors behind a console, as a specification names them:
//
//   tty          standard input and output. A terminal is raw while it is used, with EscapeFilter's
//                keys; anything else is just read and written, and its end ends the input alone.
//   file:PATH    appended to, created (mode 0600) if need be; no input
//   socket:PATH  a Unix stream socket at PATH for one client at a time
//   none, null   output is discarded, there is no input
//
// A plain value that Console owns; whoever reads and writes it is the console's thread.
#ifndef DEVICES_CONSOLE_ENDPOINT_H_
#define DEVICES_CONSOLE_ENDPOINT_H_

#include <stddef.h>

#include <optional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"
#include "devices/console/raw_terminal.h"
#include "devices/console/unix_listener.h"

namespace vmm {

struct ConsoleEndpoint {
  UniqueFd input;   // invalid: there is none, or it has ended
  UniqueFd output;  // invalid: there is none, or nobody is connected
  // `output` blocks, since it could not be opened otherwise without changing it for its other
  // users.
  bool output_blocks = false;
  std::optional<UnixListener> listener;  // where input and output come from, if not fixed
  std::optional<RawTerminal> terminal;   // `input` is a terminal
  // Bytes of output kept for a reader who is slow or not there.
  size_t capacity = 0;
};

// kInvalidArgument for a specification that is none of the above; otherwise what opening it gave.
absl::StatusOr<ConsoleEndpoint> OpenConsoleEndpoint(absl::string_view specification);

// What "tty" opens, of any two descriptors, which stay the caller's.
absl::StatusOr<ConsoleEndpoint> OpenTtyEndpoint(int input, int output);

}  // namespace vmm

#endif  // DEVICES_CONSOLE_ENDPOINT_H_
