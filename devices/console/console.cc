#include "devices/console/console.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/thread.h"

namespace vmm {
namespace {

constexpr absl::Duration kStopTimeout = absl::Seconds(1);
constexpr size_t kLargestWrite = 64 << 10;
// What a pipe or socket takes without blocking once poll() says that it is writable (pipe(7),
// PIPE_BUF).
constexpr size_t kLargestBlockingWrite = 4096;
// How long to leave a client alone that cannot be accepted, for lack of descriptors for instance.
constexpr std::chrono::milliseconds kAcceptPause{100};

bool IsTransient(int error) { return error == EAGAIN || error == EINTR; }

}  // namespace

absl::StatusOr<std::unique_ptr<Console>> Console::Open(absl::string_view specification) {
  ASSIGN_OR_RETURN(ConsoleEndpoint endpoint, OpenConsoleEndpoint(specification));
  return Create(std::move(endpoint));
}

absl::StatusOr<std::unique_ptr<Console>> Console::Create(ConsoleEndpoint endpoint) {
  UniqueFd wake(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  if (!wake.valid()) return ErrnoStatus(errno, "eventfd");
  return std::unique_ptr<Console>(new Console(std::move(endpoint), std::move(wake)));
}

Console::Console(ConsoleEndpoint endpoint, UniqueFd wake)
    : wake_(std::move(wake)),
      endpoint_(std::move(endpoint)),
      output_(endpoint_.capacity),
      connected_(endpoint_.output.valid()) {}

Console::~Console() { Stop(); }

void Console::Write(absl::Span<const uint8_t> bytes) {
  bool first;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    first = output_.empty();
    output_.Append(bytes);
    first &= connected_;
  }
  // Later bytes find the thread awake, or waiting for the reader.
  if (first) Wake();
}

absl::Status Console::Start(Handlers handlers) {
  if (thread_.joinable()) return absl::OkStatus();
  handlers_ = std::move(handlers);
  // The thread inherits the mask: SIGPIPE would end the VMM with its reader, and the others are
  // main's to take.
  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);
  absl::StatusOr<std::thread> thread = StartThread([this] { Run(); });
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (!thread.ok()) return Annotate(thread.status(), "the console");
  thread_ = *std::move(thread);
  return absl::OkStatus();
}

void Console::Stop() {
  if (!thread_.joinable()) return;
  Flush(kStopTimeout)
      .IgnoreError();  // the deadline is all that can be done for a reader who does not read
  {
    std::lock_guard<std::mutex> lock(mutex_);
    stopping_ = true;
  }
  Wake();
  thread_.join();
  stopping_ = false;
  handlers_ = {};
}

absl::Status Console::Flush(absl::Duration timeout) {
  std::unique_lock<std::mutex> lock(mutex_);
  if (output_.empty() || !connected_) return absl::OkStatus();
  if (!thread_.joinable()) return absl::FailedPreconditionError("the console is not running");
  const uint64_t target = output_.end();
  ++flushes_;
  Wake();
  const bool out = progress_.wait_for(lock, absl::ToChronoMilliseconds(timeout),
                                      [&] { return output_.begin() >= target || !connected_; });
  --flushes_;
  if (!out) {
    return absl::DeadlineExceededError(
        absl::StrCat(target - output_.begin(), " bytes of console output were not taken"));
  }
  return absl::OkStatus();
}

void Console::ResumeInput() { Wake(); }

void Console::Wake() {
  // Fails only when the counter is at its limit, and then the thread has been woken.
  eventfd_write(wake_.get(), 1);
}

void Console::Run() {
  pthread_setname_np(pthread_self(), "console");
  while (true) {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      if (stopping_) return;
    }
    OfferInput();
    Wait(OutputIsDue());
  }
}

bool Console::OutputIsDue() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (output_.empty() || !connected_) {
    batch_due_.reset();
    return false;
  }
  if (!batch_due_) batch_due_ = Clock::now() + kBatchDelay;
  return flushes_ > 0 || Clock::now() >= *batch_due_;
}

// Waits for whatever comes next, and does it.
void Console::Wait(bool output_due) {
  const bool from_listener = endpoint_.listener.has_value();
  const bool wants_input = endpoint_.input.valid() && input_.size() < kInputBuffer;
  const bool wants_client = from_listener && !endpoint_.output.valid();
  // A client is watched for its going even while nothing is written to it.
  const bool watches_output = output_due || (from_listener && endpoint_.output.valid());
  enum { kWake, kInput, kOutput, kListener, kCount };
  // poll() passes over negative descriptors.
  pollfd fds[kCount] = {
      {wake_.get(), POLLIN, 0},
      {wants_input ? endpoint_.input.get() : -1, POLLIN, 0},
      {watches_output ? endpoint_.output.get() : -1, static_cast<short>(output_due ? POLLOUT : 0),
       0},
      {wants_client ? endpoint_.listener->fd() : -1, POLLIN, 0},
  };
  timespec timeout = {};
  const bool batch_waits = batch_due_.has_value() && !output_due;
  if (batch_waits) {
    const auto left = std::max(*batch_due_ - Clock::now(), Clock::duration::zero());
    timeout.tv_nsec = std::chrono::nanoseconds(left).count();  // at most kBatchDelay
  }
  if (ppoll(fds, kCount, batch_waits ? &timeout : nullptr, nullptr) <= 0) return;

  if (fds[kWake].revents != 0) {
    eventfd_t count;
    eventfd_read(wake_.get(), &count);
  }
  if (fds[kInput].revents != 0) ReadInput();
  if (from_listener && (fds[kOutput].revents & (POLLHUP | POLLERR))) {
    while (endpoint_.input.valid() && ReadInput()) {  // what it sent before it went
    }
    DropClient();
  } else if (fds[kOutput].revents != 0) {
    WriteOutput();
  }
  if (fds[kListener].revents != 0) AcceptClient();
}

void Console::WriteOutput() {
  uint64_t position;
  size_t size;
  bool all;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    batch_.resize(endpoint_.output_blocks ? kLargestBlockingWrite : kLargestWrite);
    position = output_.begin();
    size = output_.Copy(absl::MakeSpan(batch_));
    all = position + size == output_.end();
  }
  // Without the lock, which vCPUs take.
  ssize_t written = write(endpoint_.output.get(), batch_.data(), size);
  if (written < 0) {
    if (IsTransient(errno)) {
      // A terminal may be writable and yet have no room for what is next, such as a newline's two
      // bytes.
      batch_due_ = Clock::now() + kBatchDelay;
      return;
    }
    if (endpoint_.listener.has_value()) return DropClient();  // the next gets these bytes
    written = size;
  }
  // What came meanwhile starts a batch of its own.
  if (all && static_cast<size_t>(written) == size) batch_due_.reset();
  std::lock_guard<std::mutex> lock(mutex_);
  output_.ConsumeTo(position + written);
  progress_.notify_all();
}

// False when there is nothing to read, or no room for it.
bool Console::ReadInput() {
  uint8_t bytes[kInputBuffer];
  const ssize_t count = read(endpoint_.input.get(), bytes, kInputBuffer - input_.size());
  if (count < 0 && IsTransient(errno)) return false;
  if (count <= 0) {
    // The end, unless it was for want of room that nothing was read.
    if (input_.size() < kInputBuffer) endpoint_.input.Reset();
    return false;
  }
  if (!endpoint_.terminal.has_value()) {
    input_.insert(input_.end(), bytes, bytes + count);
  } else if (escape_filter_.Filter(absl::MakeConstSpan(bytes, count), &input_)) {
    handlers_.quit();
  }
  return true;
}

void Console::OfferInput() {
  if (input_.empty()) return;
  const size_t taken = std::min(handlers_.input(input_), input_.size());
  input_.erase(input_.begin(), input_.begin() + taken);
}

void Console::AcceptClient() {
  absl::StatusOr<UniqueFd> client = endpoint_.listener->Accept();
  if (client.ok()) endpoint_.input.Reset(fcntl(client->get(), F_DUPFD_CLOEXEC, 0));
  if (!client.ok() || !endpoint_.input.valid()) {
    // The listener stays readable: do not spin on it.
    std::this_thread::sleep_for(kAcceptPause);
    return;
  }
  endpoint_.output = *std::move(client);
  std::lock_guard<std::mutex> lock(mutex_);
  connected_ = true;
}

void Console::DropClient() {
  endpoint_.input.Reset();
  endpoint_.output.Reset();
  std::lock_guard<std::mutex> lock(mutex_);
  connected_ = false;
  progress_.notify_all();
}

}  // namespace vmm
