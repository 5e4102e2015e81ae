#include "luo_kernel/hosted/instance.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/hosted/inspect_socket.h"
#include "luo_kernel/hosted/programs.h"
#include "luo_kernel/hosted/seccomp_listener.h"
#include "luo_kernel/hosted/supervisor.h"

namespace luo {
namespace {

// How long one who joined may take to kill its programs, or an inspector to read.
constexpr int kJoinerMs = 10'000;
constexpr timeval kInspectorTimeout = {.tv_sec = 2, .tv_usec = 0};

void Log(const std::string& line) { fprintf(stderr, "luo-emulate: %s\n", line.c_str()); }

bool IsSeccompListener(int fd) {
  char link[64] = {};
  const ssize_t length =
      readlink(absl::StrCat("/proc/self/fd/", fd).c_str(), link, sizeof(link) - 1);
  return length > 0 && strcmp(link, "anon_inode:seccomp notify") == 0;
}

class Instance {
 public:
  explicit Instance(InstanceOptions options) : options_(std::move(options)) {}
  ~Instance() {
    if (listening_.valid()) unlink(options_.socket_path.c_str());
  }

  absl::StatusOr<int> Run();

 private:
  using Request = Supervisor::Request;
  // Someone who connected to the socket.
  struct Connection {
    vmm::UniqueFd socket;
    std::unique_ptr<SeccompListener> listener;  // of one who joined
  };

  absl::Status PowerOn();
  absl::Status Watch(int fd);
  // Runs the command of boot number `boot`; false: there is none.
  absl::StatusOr<bool> StartBoot(size_t boot);
  // Until the program of this boot has ended (kNone), or one asked for something else.
  absl::StatusOr<Request> Serve();
  absl::StatusOr<Request> HandleEvent(int fd);
  absl::StatusOr<Request> HandleListener(SeccompListener& listener, bool* gone);
  void HandleSignals();
  void Accept();
  void HandleConnection(int fd);
  absl::Status Reply(Connection& connection, const Packet& packet);
  void EndPrograms();

  const InstanceOptions options_;
  std::unique_ptr<HostedMachine> machine_;
  std::unique_ptr<Supervisor> supervisor_;
  vmm::UniqueFd epoll_;
  vmm::UniqueFd signals_;
  vmm::UniqueFd listening_;
  std::map<int, Connection> connections_;      // by socket
  std::map<int, SeccompListener*> joined_;     // by listener
  std::unique_ptr<SeccompListener> listener_;  // of this boot's program
  pid_t program_ = 0;
  std::optional<int> exit_code_;
  std::string kernel_command_line_;  // of the kernel that runs; the first one has none
};

absl::Status Instance::Watch(int fd) {
  epoll_event event = {};
  event.events = EPOLLIN;
  event.data.fd = fd;
  if (epoll_ctl(epoll_.get(), EPOLL_CTL_ADD, fd, &event) < 0) {
    return vmm::ErrnoStatus(errno, "epoll_ctl");
  }
  return absl::OkStatus();
}

absl::Status Instance::PowerOn() {
  supervisor_.reset();
  machine_.reset();
  ASSIGN_OR_RETURN(machine_, HostedMachine::PowerOn(options_.machine));
  ASSIGN_OR_RETURN(supervisor_, Supervisor::Create(machine_.get(), Supervisor::Reboots::kAllowed));
  return Watch(supervisor_->closes_fd());
}

absl::StatusOr<bool> Instance::StartBoot(size_t boot) {
  program_ = 0;
  exit_code_.reset();
  const auto& boots = options_.boots;
  // One whose only boot is for those who join goes on so.
  const bool always = boots.empty() || (boots.size() == 1 && boots[0].empty());
  if (boot >= boots.size() && !options_.repeat_last && !always) return false;
  const size_t index = std::min(boot, boots.empty() ? 0 : boots.size() - 1);
  if (boots.empty() || boots[index].empty()) return true;
  std::vector<std::pair<std::string, std::string>> environment = {
      {"LUO_GENERATION", absl::StrCat(machine_->generation())}};
  if (machine_->generation() > 0) {
    environment.emplace_back("LUO_CMDLINE", kernel_command_line_);
  }
  ASSIGN_OR_RETURN(Program program, StartProgram(boots[index], environment));
  program_ = program.process;
  listener_ = std::make_unique<SeccompListener>(std::move(program.listener));
  RETURN_IF_ERROR(Watch(listener_->fd()));
  return true;
}

absl::StatusOr<int> Instance::Run() {
  RETURN_IF_ERROR(AdoptOrphans());
  RaiseFileLimit();
  epoll_.Reset(epoll_create1(EPOLL_CLOEXEC));
  if (!epoll_.valid()) return vmm::ErrnoStatus(errno, "epoll_create1");
  ASSIGN_OR_RETURN(signals_, TakeSignals({SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGPIPE}));
  RETURN_IF_ERROR(Watch(signals_.get()));
  RETURN_IF_ERROR(PowerOn());
  if (!options_.socket_path.empty()) {
    ASSIGN_OR_RETURN(listening_, ListenOn(options_.socket_path));
    RETURN_IF_ERROR(Watch(listening_.get()));
  }
  for (size_t boot = 0;; ++boot) {
    ASSIGN_OR_RETURN(const bool started, StartBoot(boot));
    if (!started) {
      Log("there is no command for the next boot (--next, --reexec): the instance ends");
      return 0;
    }
    const absl::StatusOr<Request> request = Serve();
    EndPrograms();
    RETURN_IF_ERROR(request.status());
    switch (*request) {
      case Request::kNone:
        supervisor_->CloseAll();
        return exit_code_.value_or(0);
      case Request::kPowerOff:
        supervisor_->CloseAll();
        return 0;
      case Request::kRestart:
        supervisor_->CloseAll();
        RETURN_IF_ERROR(PowerOn());
        break;
      case Request::kKexec:
        kernel_command_line_ = supervisor_->kexec_command_line();
        supervisor_->CloseAll();
        RETURN_IF_ERROR(vmm::Annotate(machine_->Kexec(), "the next kernel panics"));
        break;
    }
  }
}

absl::StatusOr<Supervisor::Request> Instance::Serve() {
  std::array<epoll_event, 64> events;
  while (!exit_code_) {
    const int count = epoll_wait(epoll_.get(), events.data(), events.size(), -1);
    if (count < 0 && errno != EINTR) return vmm::ErrnoStatus(errno, "epoll_wait");
    for (int i = 0; i < count; ++i) {
      ASSIGN_OR_RETURN(const Request request, HandleEvent(events[i].data.fd));
      if (request != Request::kNone) return request;
    }
  }
  return Request::kNone;
}

absl::StatusOr<Supervisor::Request> Instance::HandleEvent(int fd) {
  // One event may have closed what a later one of the same round is about: each looks it up anew.
  if (listener_ && fd == listener_->fd()) {
    bool gone = false;
    ASSIGN_OR_RETURN(const Request request, HandleListener(*listener_, &gone));
    if (gone) listener_.reset();
    return request;
  }
  if (const auto joined = joined_.find(fd); joined != joined_.end()) {
    bool gone = false;
    ASSIGN_OR_RETURN(const Request request, HandleListener(*joined->second, &gone));
    // The listener itself goes with its connection.
    if (gone) {
      epoll_ctl(epoll_.get(), EPOLL_CTL_DEL, fd, nullptr);
      joined_.erase(joined);
    }
    return request;
  }
  if (fd == supervisor_->closes_fd()) {
    supervisor_->HandleCloses();
  } else if (fd == signals_.get()) {
    HandleSignals();
  } else if (fd == listening_.get()) {
    Accept();
  } else {
    HandleConnection(fd);
  }
  return Request::kNone;
}

absl::StatusOr<Supervisor::Request> Instance::HandleListener(SeccompListener& listener,
                                                             bool* gone) {
  // Those who wait are answered in turns, one of each listener.
  pollfd ready = {.fd = listener.fd(), .events = POLLIN, .revents = 0};
  if (poll(&ready, 1, 0) <= 0) return Request::kNone;
  if (!(ready.revents & POLLIN)) {
    *gone = true;  // the last program with this filter has ended
    return Request::kNone;
  }
  return supervisor_->HandleCall(listener);
}

void Instance::HandleSignals() {
  signalfd_siginfo info;
  while (read(signals_.get(), &info, sizeof(info)) == sizeof(info)) {
    if (info.ssi_signo == SIGCHLD) {
      int wait_status;
      pid_t process;
      while ((process = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        if (process == program_) exit_code_ = ExitCode(wait_status);
      }
    } else if (info.ssi_signo == SIGPIPE) {
      // Our own: nobody reads what we say any more.
    } else if (program_ == 0) {
      exit_code_ = 0;
    } else if (info.ssi_code <= 0) {
      // Sent by a process. What a terminal sends, the program gets from it too.
      kill(program_, static_cast<int>(info.ssi_signo));
    }
  }
}

void Instance::Accept() {
  vmm::UniqueFd socket(accept4(listening_.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!socket.valid()) return;
  setsockopt(socket.get(), SOL_SOCKET, SO_SNDTIMEO, &kInspectorTimeout, sizeof(kInspectorTimeout));
  if (!Watch(socket.get()).ok()) return;
  const int fd = socket.get();
  connections_[fd].socket = std::move(socket);
}

void Instance::HandleConnection(int fd) {
  const auto connection = connections_.find(fd);
  if (connection == connections_.end()) return;
  absl::StatusOr<Packet> packet = ReceivePacket(fd, sizeof(SocketRequest));
  if (packet.ok() && !packet->bytes.empty() && !connection->second.listener) {
    const absl::Status status = Reply(connection->second, *packet);
    if (status.ok()) return;
    Log(absl::StrCat("a client of the socket: ", status.message()));
  }
  // Its end, or nonsense.
  if (connection->second.listener) joined_.erase(connection->second.listener->fd());
  connections_.erase(connection);
}

absl::Status Instance::Reply(Connection& connection, const Packet& packet) {
  ASSIGN_OR_RETURN(const SocketRequestKind kind, ParseRequest(packet.bytes));
  if (kind == SocketRequestKind::kInspect) {
    return SendInspection(connection.socket.get(), machine_->generation(),
                          supervisor_->kexec_image(), machine_->handover(), machine_->extents());
  }
  if (packet.files.size() != 1 || !IsSeccompListener(packet.files[0].get())) {
    return absl::InvalidArgumentError("it would join without a seccomp listener");
  }
  vmm::UniqueFd file(fcntl(packet.files[0].get(), F_DUPFD_CLOEXEC, 0));
  if (!file.valid()) return vmm::ErrnoStatus(errno, "a seccomp listener");
  connection.listener = std::make_unique<SeccompListener>(std::move(file));
  RETURN_IF_ERROR(Watch(connection.listener->fd()));
  joined_[connection.listener->fd()] = connection.listener.get();
  return SendInspection(connection.socket.get(), machine_->generation(), supervisor_->kexec_image(),
                        machine_->handover(), {});
}

void Instance::EndPrograms() {
  for (auto& [fd, connection] : connections_) {
    if (connection.listener) shutdown(fd, SHUT_WR);
  }
  EndDescendants();
  for (auto& [fd, connection] : connections_) {
    if (!connection.listener) continue;
    // Nothing more comes from it but its end.
    pollfd ended = {.fd = fd, .events = POLLIN | POLLRDHUP, .revents = 0};
    if (poll(&ended, 1, kJoinerMs) == 0) {
      Log("one who joined does not end its programs; going on without it");
    }
  }
  joined_.clear();
  connections_.clear();
  listener_.reset();
}

// The part of a joining program's life that may outlast it: adopts what it leaves behind, and ends
// all when the instance says so. `front` is told the exit code.
void KeepJoined(const vmm::UniqueFd& instance, const vmm::UniqueFd& signals, pid_t program,
                vmm::UniqueFd front) {
  bool children = true;
  while (children) {
    enum { kInstance, kSignals, kFront, kCount };
    pollfd ready[kCount] = {
        {instance.get(), POLLIN | POLLRDHUP, 0}, {signals.get(), POLLIN, 0}, {front.get(), 0, 0}};
    if (poll(ready, kCount, -1) < 0) continue;
    if (ready[kInstance].revents != 0) {
      EndDescendants();
      const int code = 128 + SIGKILL;
      if (front.valid() && write(front.get(), &code, sizeof(code)) < 0) return;
      return;
    }
    if (ready[kFront].revents != 0 && program != 0) {
      // The one in front was killed.
      kill(program, SIGKILL);
      front.Reset();
    }
    signalfd_siginfo info;
    while (read(signals.get(), &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_signo == SIGPIPE) continue;  // our own
      if (info.ssi_signo != SIGCHLD) {
        if (program != 0 && info.ssi_code <= 0) kill(program, static_cast<int>(info.ssi_signo));
        continue;
      }
      int wait_status;
      pid_t process;
      while ((process = waitpid(-1, &wait_status, WNOHANG)) > 0) {
        if (process != program) continue;
        program = 0;
        const int code = ExitCode(wait_status);
        if (front.valid() && write(front.get(), &code, sizeof(code)) < 0) front.Reset();
        front.Reset();
        // Whoever waits for the end of the output does not wait for us.
        vmm::UniqueFd null(open("/dev/null", O_RDWR | O_CLOEXEC));
        for (int stream : {STDIN_FILENO, STDOUT_FILENO, STDERR_FILENO}) dup2(null.get(), stream);
      }
      children = process == 0;  // not ECHILD
    }
  }
}

// The joining itself, in the process that becomes the keeper; what could not be done.
absl::Status Join(const std::string& socket_path, const std::vector<std::string>& command,
                  vmm::UniqueFd front) {
  RETURN_IF_ERROR(AdoptOrphans());
  ASSIGN_OR_RETURN(vmm::UniqueFd signals,
                   TakeSignals({SIGCHLD, SIGTERM, SIGINT, SIGQUIT, SIGHUP, SIGPIPE}));
  ASSIGN_OR_RETURN(vmm::UniqueFd instance, ConnectTo(socket_path));
  ASSIGN_OR_RETURN(Program program, StartProgram(command, {}));
  const SocketRequest request = {kSocketMagic, kSocketVersion,
                                 static_cast<uint32_t>(SocketRequestKind::kJoin), 0};
  absl::Status joined =
      SendPacket(instance.get(),
                 absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&request), sizeof(request)),
                 {program.listener.get()});
  program.listener.Reset();
  absl::StatusOr<Packet> reply = ReceivePacket(instance.get(), sizeof(SocketReply));
  if (joined.ok()) joined = reply.ok() ? ParseReply(reply->bytes).status() : reply.status();
  if (!joined.ok()) {
    EndDescendants();
    return vmm::Annotate(joined, socket_path);
  }
  KeepJoined(instance, signals, program.process, std::move(front));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<int> RunInstance(InstanceOptions options) {
  return Instance(std::move(options)).Run();
}

absl::StatusOr<int> JoinInstance(const std::string& socket_path,
                                 const std::vector<std::string>& command) {
  int pipe_fds[2];
  if (pipe2(pipe_fds, O_CLOEXEC) < 0) return vmm::ErrnoStatus(errno, "pipe2");
  vmm::UniqueFd code_end(pipe_fds[0]), keeper_end(pipe_fds[1]);
  ASSIGN_OR_RETURN(vmm::UniqueFd signals, TakeSignals({SIGTERM, SIGINT, SIGQUIT, SIGHUP}));
  fflush(nullptr);
  const pid_t keeper = fork();
  if (keeper < 0) return vmm::ErrnoStatus(errno, "fork");
  if (keeper == 0) {
    code_end.Reset();
    signals.Reset();
    const absl::Status status = Join(socket_path, command, std::move(keeper_end));
    if (!status.ok()) Log(std::string(status.message()));
    _exit(vmm::StatusErrno(status));  // 0 where all went well
  }
  keeper_end.Reset();
  for (;;) {
    pollfd ready[2] = {{code_end.get(), POLLIN, 0}, {signals.get(), POLLIN, 0}};
    if (poll(ready, 2, -1) < 0) continue;
    signalfd_siginfo info;
    while (read(signals.get(), &info, sizeof(info)) == sizeof(info)) {
      if (info.ssi_code <= 0) kill(keeper, static_cast<int>(info.ssi_signo));
    }
    if (ready[0].revents == 0) continue;
    int code;
    if (read(code_end.get(), &code, sizeof(code)) == sizeof(code)) return code;
    int wait_status;
    waitpid(keeper, &wait_status, 0);
    return vmm::ErrnoStatus(WIFEXITED(wait_status) ? WEXITSTATUS(wait_status) : ECHILD,
                            "could not join");
  }
}

absl::Status KexecFromInside() {
  vmm::UniqueFd image(memfd_create("luo-next-kernel", MFD_CLOEXEC));
  constexpr char kImage[] = "not a kernel: for luo-emulate only";
  if (!image.valid() || write(image.get(), kImage, sizeof(kImage)) < 0) {
    return vmm::ErrnoStatus(errno, "memfd_create");
  }
  if (syscall(SYS_kexec_file_load, image.get(), -1, 1UL, "", KEXEC_FILE_NO_INITRAMFS) < 0) {
    return vmm::ErrnoStatus(errno, "kexec_file_load; is this inside a luo-emulate?");
  }
  syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, nullptr);
  return vmm::ErrnoStatus(errno, "reboot(KEXEC)");
}

}  // namespace luo
