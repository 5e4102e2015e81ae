// luod: the one owner of /dev/liveupdate. Brings VMs over a kexec of the host, see README.md. Exit
// codes: 0 told to end; 1 it cannot work; 2 wrong usage.
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <chrono>
#include <csignal>
#include <map>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"
#include "luo_kernel/client/kernel_live_update.h"
#include "tools/luod/clock.h"
#include "tools/luod/host.h"
#include "tools/luod/kexec.h"
#include "tools/luod/log.h"
#include "tools/luod/readiness.h"
#include "tools/luod/restore.h"
#include "tools/luod/server.h"
#include "tools/luod/sessions.h"
#include "tools/luod/spawner.h"
#include "tools/luod/supervisor.h"
#include "vmm/live_update/socket.h"

namespace vmm {
namespace {

constexpr std::chrono::milliseconds kTick{100};
constexpr int kUsage = 2;  // exit code
// VMs look for luod once a second (Participant::Options::retry).
constexpr std::chrono::seconds kSettlingTime{2};

struct Options {
  std::string socket_path = kDefaultSocketPath;
  std::string device = "/dev/liveupdate";
  uint64_t vm_timeout_ms = 10'000;
  std::string notify_socket;  // see readiness.h
};

absl::StatusOr<UniqueFd> OpenSignals() {
  sigset_t signals;
  sigemptyset(&signals);
  for (int signal : {SIGTERM, SIGINT, SIGCHLD}) sigaddset(&signals, signal);
  sigprocmask(SIG_BLOCK, &signals, nullptr);
  UniqueFd fd(signalfd(-1, &signals, SFD_CLOEXEC | SFD_NONBLOCK));
  if (!fd.valid()) return ErrnoStatus(errno, "signalfd");
  return fd;
}

// False when it has to be tried again: the manager has not read what others told it.
bool TellReady(const std::string& notify_socket) {
  absl::Status told = NotifyReady(notify_socket);
  if (absl::IsUnavailable(told)) return false;
  if (!told.ok()) Log(std::string(told.message()));
  return true;
}

// Beside the socket, so that two luods of one machine (a test's, say) do not share it.
std::string ManifestPath(const std::string& socket_path) {
  return socket_path.substr(0, socket_path.rfind('/') + 1) + "manifest";
}

// Takes `held` only once nothing can fail that might work a second later.
absl::Status Run(const Options& options, bool restarted, std::map<std::string, UniqueFd>& held) {
  SystemClock clock;
  SystemHost machine;
  SystemKexec kexec;
  ASSIGN_OR_RETURN(UniqueFd signals, OpenSignals());
  ASSIGN_OR_RETURN(UniqueFd listener, ListenOn(options.socket_path));
  ASSIGN_OR_RETURN(std::unique_ptr<luo::KernelLiveUpdate> client,
                   luo::KernelLiveUpdate::Open(options.device));
  // What an update that luod was killed in had loaded.
  if (restarted) kexec.Unload().IgnoreError();

  KernelSessions sessions(client.get());
  ProcessSpawner spawner(options.socket_path);
  const std::chrono::milliseconds vm_timeout(options.vm_timeout_ms);
  Restore::HeldSessions held_sessions;
  for (auto& [name, fd] : held) held_sessions.emplace(name, std::move(fd));
  held.clear();
  ASSIGN_OR_RETURN(Restore restore,
                   Restore::Begin({.sessions = &sessions,
                                   .spawner = &spawner,
                                   .clock = &clock,
                                   .manifest_path = ManifestPath(options.socket_path),
                                   .register_timeout = vm_timeout,
                                   .log = Log},
                                  std::move(held_sessions)));
  restore.Start();

  utsname host;
  uname(&host);
  Server server({.sessions = &sessions,
                 .kexec = &kexec,
                 .host = &machine,
                 .clock = &clock,
                 .log = Log,
                 .vm_timeout = vm_timeout,
                 .settling_time = kSettlingTime,
                 .kernel_release = host.release},
                std::move(listener), std::move(signals), std::move(restore));
  Log("ready on " + options.socket_path);
  // A VM that never comes back must not keep the host from booting.
  const Clock::TimePoint latest = clock.Now() + vm_timeout;
  for (bool told = false; !server.stopped(); server.Step(kTick)) {
    if (told || (server.resuming() && clock.Now() < latest)) continue;
    told = TellReady(options.notify_socket);
  }
  Log("ends; VMs run on");
  return absl::OkStatus();
}

int Work(const Options& options, bool restarted) {
  absl::StatusOr<std::map<std::string, UniqueFd>> held = TakeHeldSessions();
  absl::Status status = held.ok() ? Run(options, restarted, *held) : held.status();
  if (status.ok()) return EXIT_SUCCESS;
  Log(std::string(status.message()));
  // Ending would free what the sessions hold; the supervisor keeps them and tries again.
  if (held.ok() && !held->empty()) abort();
  return EXIT_FAILURE;
}

// Exits where there is nothing more to do.
Options ReadCommandLine(int argc, char** argv) {
  Options options;
  // After a kexec guests wait for luod. CLI11 takes 20 ms to build its model where code is slow to
  // run for the first time; a luod that nobody configures need not.
  if (argc == 1) return options;
  CLI::App app("luod: brings VMs over a kexec of the host. Runs in the foreground.");
  app.add_option("--socket", options.socket_path, "where vmm and luoctl find it")
      ->capture_default_str();
  app.add_option("--device", options.device, "the Live Update Orchestrator")->capture_default_str();
  app.add_option("--vm-timeout", options.vm_timeout_ms,
                 "how long a VM may take for one step of an update (ms, s, min; default 10s)")
      ->transform(CLI::AsNumberWithUnit(
          std::map<std::string, uint64_t>{{"ms", 1}, {"s", 1000}, {"min", 60'000}},
          CLI::AsNumberWithUnit::UNIT_REQUIRED))
      ->check(CLI::Range(uint64_t{1}, uint64_t{86'400'000}));
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    exit(app.exit(error) == 0 ? EXIT_SUCCESS : kUsage);
  }
  return options;
}

}  // namespace
}  // namespace vmm

int main(int argc, char** argv) {
  vmm::Options options = vmm::ReadCommandLine(argc, argv);
  // Not for the VMs that luod starts: they would speak for it.
  if (const char* socket = getenv("NOTIFY_SOCKET")) options.notify_socket = socket;
  unsetenv("NOTIFY_SOCKET");
  // A session for each VM: as many descriptors as may be had.
  rlimit files;
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
  }
  // The end of a terminal, or of who reads the log, is not luod's: what it holds would go with it.
  for (int signal : {SIGHUP, SIGPIPE, SIGQUIT}) std::signal(signal, SIG_IGN);
  return vmm::Supervise([&options](bool restarted) { return vmm::Work(options, restarted); });
}
