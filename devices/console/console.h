// Console: the host's end of a serial port. A thread carries bytes between the port and what a
// specification names (devices/console/endpoint.h).
//
//   ASSIGN_OR_RETURN(auto console, Console::Open("socket:/run/vmm/web1.console"));
//   Serial16550 serial(&irq4, console.get());
//   serial.SetRoomCallback([&] { console->ResumeInput(); });
//   RETURN_IF_ERROR(console->Start({.input = [&](auto bytes) { return serial.Enqueue(bytes); },
//                                   .quit = [&] { machine.PowerOff(); }}));
//   ...
//   console->Stop();   // before the port goes
//
// Output never makes a vCPU wait. Write() puts bytes into a bounded queue, 64 KiB for a socket and
// 256 KiB otherwise, which drops its oldest bytes when whoever reads is stopped for that long: a
// guest that printed into a forgotten terminal must not hang in it. The thread writes the queue out
// in one piece, kBatchDelay after its first byte, so a line costs one system call and not one for
// each character. For a socket the queue is also the history that a client gets when it connects; a
// second client waits until the first has gone. A write that fails for good (the reader has gone,
// the disk is full) discards what it held, and the next is tried.
//
// Input is taken from the descriptor only as the port has room, but for kInputBuffer bytes, and
// none is lost while the console lives; a client that hangs up may leave that many behind. Bytes in
// that buffer are not part of a VM's saved state: they, like those in a pipe or socket, go with the
// process.
//
// Across an update: Stop() before the port is saved (nothing must be enqueued from then on),
// Start() again on a cancel. What the guest prints in between is queued.
//
// Threads: Write() and ResumeInput() from any thread; the others from one, never from a handler.
// The thread of the console has all signals blocked.
#ifndef DEVICES_CONSOLE_CONSOLE_H_
#define DEVICES_CONSOLE_CONSOLE_H_

#include <stddef.h>
#include <stdint.h>

#include <chrono>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/time/time.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"
#include "devices/console/byte_ring.h"
#include "devices/console/endpoint.h"
#include "devices/console/escape_filter.h"
#include "devices/legacy/serial_output.h"

namespace vmm {

class Console final : public SerialOutput {
 public:
  // Both are called on the console's thread, and both must be set.
  struct Handlers {
    // Offers input to the guest and returns how much of it was taken. The rest is offered again
    // after ResumeInput().
    std::function<size_t(absl::Span<const uint8_t>)> input;
    // Somebody at the terminal typed Ctrl-A x.
    std::function<void()> quit;
  };

  // How long the first byte of a batch waits for more.
  static constexpr std::chrono::milliseconds kBatchDelay{2};
  static constexpr size_t kInputBuffer = 4096;

  // Errors are those of OpenConsoleEndpoint().
  static absl::StatusOr<std::unique_ptr<Console>> Open(absl::string_view specification);
  static absl::StatusOr<std::unique_ptr<Console>> Create(ConsoleEndpoint endpoint);
  // Stops.
  ~Console() override;

  void Write(absl::Span<const uint8_t> bytes) override;

  // Starts the thread; does nothing when it runs. Fails where the host has no thread left.
  absl::Status Start(Handlers handlers);
  // Gives output a second to get out, then ends the thread; does nothing when none runs. No handler
  // is called after.
  void Stop();

  // Waits until all that was written before is out, as far as write(2) has it; OK too where nobody
  // is connected to be waited for. kDeadlineExceeded when the reader does not take it,
  // kFailedPrecondition when output waits and no thread runs.
  absl::Status Flush(absl::Duration timeout);

  // Says that the port has room again.
  void ResumeInput();

 private:
  using Clock = std::chrono::steady_clock;

  Console(ConsoleEndpoint endpoint, UniqueFd wake);

  void Wake();

  // The thread's.
  void Run();
  bool OutputIsDue();
  void Wait(bool output_due);
  void WriteOutput();
  bool ReadInput();
  void OfferInput();
  void AcceptClient();
  void DropClient();

  const UniqueFd wake_;  // an eventfd

  // Used by the thread alone while there is one.
  ConsoleEndpoint endpoint_;
  Handlers handlers_;
  EscapeFilter escape_filter_;
  std::vector<uint8_t> input_;  // read, and not yet taken by the guest
  std::optional<Clock::time_point> batch_due_;
  std::vector<uint8_t> batch_;  // scratch of WriteOutput()

  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable progress_;  // of output
  ByteRing output_;
  bool connected_;  // endpoint_.output is valid
  bool stopping_ = false;
  int flushes_ = 0;  // how many Flush() wait
};

}  // namespace vmm

#endif  // DEVICES_CONSOLE_CONSOLE_H_
