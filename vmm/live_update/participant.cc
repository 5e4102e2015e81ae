#include "vmm/live_update/participant.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/thread.h"
#include "vmm/machine/vm_name.h"

namespace vmm {
namespace {

constexpr uint32_t kRegisterRequestId = 1;
constexpr std::chrono::seconds kRegisterTimeout{10};
constexpr std::chrono::milliseconds kForever{-1};
constexpr std::chrono::milliseconds kNow{0};

template <typename Reply>
Message AnswerOf(uint32_t request, const absl::StatusOr<Reply>& reply) {
  return reply.ok() ? reply->ToMessage(request) : ErrorMessage(request, reply.status());
}

}  // namespace

absl::StatusOr<std::unique_ptr<Participant>> Participant::Create(Options options,
                                                                 LiveUpdateTarget* target) {
  RETURN_IF_ERROR(CheckVmName(options.registration.name));
  UniqueFd stop(eventfd(0, EFD_CLOEXEC));
  if (!stop.valid()) return ErrnoStatus(errno, "eventfd");
  std::unique_ptr<Participant> participant(
      new Participant(std::move(options), target, std::move(stop)));
  ASSIGN_OR_RETURN(participant->thread_, StartThread([p = participant.get()] {
                     if (p->begin_.get_future().get()) p->Run();
                   }));
  return participant;
}

void Participant::Begin(uint64_t run_tsc) {
  options_.registration.run_tsc = run_tsc;
  begun_ = true;
  begin_.set_value(true);
}

Participant::~Participant() {
  if (!thread_.joinable()) return;
  if (!begun_) begin_.set_value(false);
  eventfd_write(stop_.get(), 1);
  thread_.join();
}

void Participant::Run() {
  do {
    absl::Status lost = Serve();
    // The connection is closed by now, and luod sees that unless it has had its last look before
    // the kexec. A lost luod makes no kexec; one that this VM leaves by ending may.
    if (Wait(-1, kNow) == Wake::kStop) {
      EndUpdate();
    } else {
      CancelUpdate();
    }
    std::string line = absl::StrCat("live update: ", lost.message());
    if (line != last_line_) options_.log(line);
    last_line_ = line;
  } while (Wait(-1, options_.retry) != Wake::kStop);
}

absl::Status Participant::Serve() {
  ASSIGN_OR_RETURN(UniqueFd socket, options_.connect());
  RETURN_IF_ERROR(Register(socket.get()));
  options_.log("live update: registered with luod");
  last_line_.clear();
  while (Wait(socket.get(), kForever) == Wake::kReadable) {
    ASSIGN_OR_RETURN(Message request, ReceiveMessage(socket.get()));
    RETURN_IF_ERROR(SendMessage(socket.get(), Answer(std::move(request))));
  }
  return absl::CancelledError("the VM ends");
}

absl::Status Participant::Register(int socket) {
  RETURN_IF_ERROR(SendMessage(socket, options_.registration.ToMessage(kRegisterRequestId)));
  if (Wait(socket, kRegisterTimeout) != Wake::kReadable) {
    return absl::DeadlineExceededError("luod does not answer");
  }
  ASSIGN_OR_RETURN(Message answer, ReceiveMessage(socket));
  return Annotate(StatusOfAnswer(answer), "luod refuses this VM");
}

Message Participant::Answer(Message request) {
  switch (request.type) {
    case MessageType::kPing:
      return PingReply{.missing_bytes = target_->MissingBytes()}.ToMessage(request.request);
    case MessageType::kPrepare:
      if (updating_ || request.fds.size() != 1) {
        return ErrorMessage(request.request,
                            absl::FailedPreconditionError("PREPARE twice or without a session"));
      }
      updating_ = true;
      return AnswerOf(request.request, target_->Prepare(std::move(request.fds[0])));
    case MessageType::kFreeze:
      if (!updating_) {
        return ErrorMessage(request.request,
                            absl::FailedPreconditionError("FREEZE without PREPARE"));
      }
      return AnswerOf(request.request, target_->Freeze());
    case MessageType::kCancel:
      CancelUpdate();
      return OkMessage(request.request);
    default:
      return ErrorMessage(request.request,
                          absl::UnimplementedError(
                              absl::StrCat("a VM does not take ", MessageTypeName(request.type))));
  }
}

void Participant::CancelUpdate() {
  if (std::exchange(updating_, false)) target_->Cancel();
}

void Participant::EndUpdate() {
  if (std::exchange(updating_, false)) target_->End();
}

Participant::Wake Participant::Wait(int socket, std::chrono::milliseconds timeout) {
  pollfd fds[] = {{stop_.get(), POLLIN, 0}, {socket, POLLIN, 0}};
  int ready;
  do {
    ready = poll(fds, 2, static_cast<int>(timeout.count()));
  } while (ready < 0 && errno == EINTR);
  if (fds[0].revents != 0) return Wake::kStop;
  return ready > 0 ? Wake::kReadable : Wake::kTimeout;
}

}  // namespace vmm
