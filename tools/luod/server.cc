#include "tools/luod/server.h"

#include <errno.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "base/status.h"
#include "vmm/live_update/socket.h"

namespace vmm {
namespace {

// Room for the status of thousands of VMs, which is sent without waiting for the reader.
constexpr int kSendBuffer = 4 << 20;

}  // namespace

class Server::Connection final : public VmPeer {
 public:
  explicit Connection(UniqueFd socket) : socket_(std::move(socket)) {}

  int socket() const { return socket_.get(); }
  bool is_vm() const { return vm_.has_value(); }
  void BecomeVm(RegisterRequest registration) { vm_ = std::move(registration); }

  const RegisterRequest& registration() const override { return *vm_; }
  absl::Status Send(const Message& message) override { return SendMessage(socket_.get(), message); }

 private:
  UniqueFd socket_;
  std::optional<RegisterRequest> vm_;
};

Server::Server(Environment environment, UniqueFd listener, UniqueFd signals, Restore restore)
    : environment_(std::move(environment)),
      listener_(std::move(listener)),
      signals_(std::move(signals)),
      restore_(std::move(restore)),
      started_(environment_.clock->Now()) {}

Server::~Server() = default;

void Server::Step(std::chrono::milliseconds timeout) {
  std::vector<pollfd> fds = {{listener_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
  for (const Connection& connection : connections_) {
    fds.push_back({connection.socket(), POLLIN, 0});
  }
  // An update that is ready to go on waits for nobody, but hears whoever is there.
  const bool ready = update_.has_value() && update_->ready();
  if (ready) timeout = std::chrono::milliseconds(0);
  const int heard = poll(fds.data(), fds.size(), static_cast<int>(timeout.count()));
  if (heard < 0) {
    if (errno == EINTR) return;
    environment_.log(std::string(ErrnoStatus(errno, "poll").message()));
    std::this_thread::sleep_for(timeout);
    return;
  }
  size_t index = 2;
  for (auto connection = connections_.begin(); connection != connections_.end(); ++index) {
    auto current = connection++;
    if (fds[index].revents != 0 && !Read(*current)) {
      Drop(*current);
      connections_.erase(current);
    }
  }
  if (fds[1].revents != 0) ReadSignals();
  if (fds[0].revents != 0) Accept();
  restore_.OnTick();
  if (waiting_.has_value() && environment_.clock->Now() >= started_ + environment_.settling_time) {
    Waiting now = *std::move(waiting_);
    waiting_.reset();
    Upgrade(*now.connection, std::move(now.message));
  }
  if (ready && heard == 0) update_->GoOn();
  if (update_.has_value()) update_->OnTick();
  EndUpdateIfDone();
  if (stops_when_settled_ && !restore_.pending()) RequestStop();
}

void Server::Accept() {
  UniqueFd socket(accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!socket.valid()) return;
  absl::Status allowed = CheckPeer(socket.get());
  if (!allowed.ok()) return environment_.log(std::string(allowed.message()));
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDBUFFORCE, &kSendBuffer, sizeof(kSendBuffer));
  connections_.emplace_back(std::move(socket));
}

void Server::ReadSignals() {
  signalfd_siginfo signal;
  while (read(signals_.get(), &signal, sizeof(signal)) == sizeof(signal)) {
    if (signal.ssi_signo == SIGCHLD) {
      ReapChildren();
    } else {
      RequestStop();
    }
  }
}

void Server::ReapChildren() {
  int wait_status;
  pid_t pid;
  while ((pid = waitpid(-1, &wait_status, WNOHANG)) > 0) restore_.OnChildExit(pid, wait_status);
}

void Server::RequestStop() {
  if (restore_.pending()) {
    stops_when_settled_ = true;
    return environment_.log(
        "not ending yet: VMs await their resume; luoctl status shows them, retry or abandon them");
  }
  stops_when_settled_ = false;
  stopping_ = true;
  RefuseWaiting(absl::CancelledError("luod was told to end"));
  if (update_.has_value()) {
    update_->Cancel("luod was told to end");
  } else {
    stopped_ = true;
  }
}

bool Server::Read(Connection& connection) {
  absl::StatusOr<Message> message = ReceiveMessage(connection.socket());
  if (!message.ok()) {
    if (StatusErrno(message.status()) == EAGAIN) return true;
    if (connection.is_vm() || !absl::IsUnavailable(message.status())) {
      environment_.log(absl::StrCat(
          connection.is_vm() ? absl::StrCat("VM ", connection.registration().name) : "a peer", ": ",
          message.status().message()));
    }
    return false;
  }
  absl::Status status = Dispatch(connection, *std::move(message));
  if (!status.ok()) environment_.log(std::string(status.message()));
  return status.ok();
}

absl::Status Server::Dispatch(Connection& connection, Message message) {
  const uint32_t request = message.request;
  if (connection.is_vm()) {
    if (message.type != MessageType::kOk && message.type != MessageType::kError) {
      return absl::InvalidArgumentError(absl::StrCat("VM ", connection.registration().name,
                                                     " sent ", MessageTypeName(message.type)));
    }
    if (update_.has_value()) update_->OnAnswer(&connection, message);
    return absl::OkStatus();
  }
  switch (message.type) {
    case MessageType::kRegister:
      return Register(connection, message);
    case MessageType::kStatus:
      SendStatus(connection, request);
      return absl::OkStatus();
    case MessageType::kUpgrade:
      Upgrade(connection, std::move(message));
      return absl::OkStatus();
    case MessageType::kCancelUpgrade: {
      constexpr char kWhy[] = "the operator cancelled the update";
      const bool any = update_.has_value() || waiting_.has_value();
      if (update_.has_value()) update_->Cancel(kWhy);
      RefuseWaiting(absl::CancelledError(kWhy));
      Reply(connection, request,
            any ? absl::OkStatus() : absl::FailedPreconditionError("no update is in progress"));
      return absl::OkStatus();
    }
    case MessageType::kRetry:
    case MessageType::kAbandon: {
      absl::StatusOr<VmNameRequest> vm = VmNameRequest::FromTree(message.body);
      if (!vm.ok()) return vm.status();
      Reply(connection, request,
            message.type == MessageType::kRetry ? restore_.Retry(vm->name)
                                                : restore_.Abandon(vm->name));
      return absl::OkStatus();
    }
    default:
      return absl::InvalidArgumentError(
          absl::StrCat("a peer sent ", MessageTypeName(message.type)));
  }
}

absl::Status Server::Register(Connection& connection, const Message& message) {
  ASSIGN_OR_RETURN(RegisterRequest registration, RegisterRequest::FromTree(message.body));
  absl::Status status = CheckRegistrationAllowed(registration);
  if (!status.ok()) {
    refusal_ = {registration.name, environment_.clock->Now(), std::string(status.message())};
    // It runs, and the kexec would be its end. It tries again on a new connection.
    if (update_.has_value()) {
      update_->Cancel(absl::StrCat("VM ", registration.name, " has just come: try again"));
    }
    connection.Send(ErrorMessage(message.request, status)).IgnoreError();
    return status;
  }
  RETURN_IF_ERROR(connection.Send(OkMessage(message.request)));
  environment_.log(
      absl::StrCat("VM ", registration.name, " registered, process ", registration.pid));
  if (refusal_.has_value() && refusal_->name == registration.name) refusal_.reset();
  if (registration.resumed) restore_.OnResumed(registration.name, registration.run_tsc);
  connection.BecomeVm(std::move(registration));
  return absl::OkStatus();
}

absl::Status Server::CheckRegistrationAllowed(const RegisterRequest& registration) {
  if (FindVm(registration.name) != nullptr) {
    return absl::AlreadyExistsError(absl::StrCat("a VM ", registration.name, " is registered"));
  }
  if (restore_.IsPending(registration.name) && !registration.resumed) {
    return absl::AlreadyExistsError(
        absl::StrCat("a VM ", registration.name, " of the last kernel awaits its resume"));
  }
  if (update_.has_value()) return absl::UnavailableError("update in progress");
  return absl::OkStatus();
}

void Server::Drop(Connection& connection) {
  if (waiting_.has_value() && waiting_->connection == &connection) waiting_.reset();
  if (&connection == requester_) {
    requester_ = nullptr;
    if (update_.has_value()) update_->Cancel("the luoctl that asked for the update is gone");
  }
  if (update_.has_value()) update_->OnGone(&connection);
}

absl::Status Server::CheckUpgradeAllowed() const {
  if (update_.has_value() || waiting_.has_value()) {
    return absl::UnavailableError("an update is in progress");
  }
  if (stopping_) return absl::UnavailableError("luod is ending");
  if (restore_.pending()) {
    std::vector<std::string> names;
    for (const VmStatus& vm : restore_.PendingStatus()) names.push_back(vm.name);
    return absl::FailedPreconditionError(
        absl::StrCat("VMs of the last update await their resume and would be lost (retry or "
                     "abandon them first): ",
                     absl::StrJoin(names, ", ")));
  }
  if (refusal_.has_value() &&
      environment_.clock->Now() < refusal_->time + environment_.settling_time) {
    return absl::UnavailableError(absl::StrCat(
        "VM ", refusal_->name, " runs, is not registered, and would be lost: ", refusal_->why));
  }
  return absl::OkStatus();
}

void Server::Upgrade(Connection& connection, Message message) {
  absl::StatusOr<UpgradeRequest> upgrade = UpgradeRequest::FromMessage(message);
  absl::Status allowed = upgrade.ok() ? CheckUpgradeAllowed() : upgrade.status();
  if (!allowed.ok()) return Reply(connection, message.request, allowed);
  if (environment_.clock->Now() < started_ + environment_.settling_time) {
    constexpr char kWhy[] = "luod has just started: VMs are given time to find it";
    environment_.log(kWhy);
    connection.Send(Progress{.phase = "check", .text = kWhy}.ToMessage(message.request))
        .IgnoreError();
    waiting_ = {&connection, std::move(message)};
    return;
  }

  requester_ = &connection;
  requester_request_ = message.request;
  std::vector<VmPeer*> peers;
  for (Connection& peer : connections_) {
    if (peer.is_vm()) peers.push_back(&peer);
  }
  auto progress = [this](const Progress& step) {
    environment_.log(absl::StrCat("update, ", step.phase, ": ", step.text));
    if (requester_ != nullptr) {
      requester_->Send(step.ToMessage(requester_request_)).IgnoreError();
    }
  };
  std::chrono::milliseconds timeout = upgrade->vm_timeout_ms == 0
                                          ? environment_.vm_timeout
                                          : std::chrono::milliseconds(upgrade->vm_timeout_ms);
  UniqueFd initrd = upgrade->has_initrd ? std::move(message.fds[1]) : UniqueFd();
  update_.emplace(
      Update::Environment{
          .sessions = environment_.sessions,
          .kexec = environment_.kexec,
          .host = environment_.host,
          .clock = environment_.clock,
          .progress = progress,
          .generation = restore_.manifest().has_value() ? restore_.manifest()->generation + 1 : 1,
          .old_kernel = environment_.kernel_release},
      *std::move(upgrade), timeout, std::move(message.fds[0]), std::move(initrd), peers);
  update_->Start();
}

void Server::RefuseWaiting(const absl::Status& why) {
  if (!waiting_.has_value()) return;
  Reply(*waiting_->connection, waiting_->message.request, why);
  waiting_.reset();
}

void Server::EndUpdateIfDone() {
  if (!update_.has_value() || !update_->done()) return;
  const absl::Status& result = update_->result();
  environment_.log(result.ok()
                       ? "the check passed, nothing was changed"
                       : absl::StrCat("update failed, all guests run on: ", result.message()));
  if (requester_ != nullptr) Reply(*requester_, requester_request_, result);
  requester_ = nullptr;
  update_.reset();
  if (stopping_) stopped_ = true;
}

void Server::SendStatus(Connection& connection, uint32_t request) {
  const std::optional<Manifest>& manifest = restore_.manifest();
  std::vector<VmStatus> vms = restore_.PendingStatus();
  for (const Connection& peer : connections_) {
    if (!peer.is_vm()) continue;
    const RegisterRequest& registration = peer.registration();
    VmStatus status;
    if (manifest.has_value()) {
      for (const ManifestVm& vm : manifest->vms) {
        if (vm.name == registration.name) status = ReportOf(vm, manifest->tsc_khz);
      }
    }
    status.name = registration.name;
    status.state = update_.has_value() ? "updating" : "running";
    status.vcpus = registration.vcpus;
    status.memory_bytes = registration.memory_bytes;
    status.pid = registration.pid;
    vms.push_back(std::move(status));
  }
  std::sort(vms.begin(), vms.end(),
            [](const VmStatus& a, const VmStatus& b) { return a.name < b.name; });
  HostStatus host = manifest.has_value() ? ReportOf(*manifest) : HostStatus();
  host.phase = update_.has_value()  ? std::string(update_->phase_name())
               : restore_.pending() ? "restoring"
                                    : "idle";
  host.kernel = environment_.kernel_release;
  host.pid = getpid();
  for (const VmStatus& vm : vms) connection.Send(vm.ToMessage(request)).IgnoreError();
  connection.Send(host.ToMessage(request)).IgnoreError();
}

void Server::Reply(Connection& connection, uint32_t request, const absl::Status& status) {
  connection.Send(status.ok() ? OkMessage(request) : ErrorMessage(request, status)).IgnoreError();
}

Server::Connection* Server::FindVm(absl::string_view name) {
  for (Connection& connection : connections_) {
    if (connection.is_vm() && connection.registration().name == name) return &connection;
  }
  return nullptr;
}

}  // namespace vmm
