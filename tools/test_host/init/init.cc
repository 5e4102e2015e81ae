// The emulated test host's /init. A guest's blackout lasts from the kexec until luod has resumed
// it, so this is a small static program rather than a shell script: it mounts what luod needs,
// starts luod, and only then does the rest.
//
// In this order:
//   1. mounts /proc, /sys, /dev, /run and the 9p share (tag "share") at /share;
//   2. asks for huge folios in shmem (shmem_enabled=advise): live update is fast with them;
//   3. starts /sbin/luod where there is one, its output appended to /share/luod.log;
//   4. waits until luod says that no guest stands still any more (by sd_notify(3), as a service
//      manager would), it ends, or too long has passed;
//   5. mounts the rest; the machine's own root (tag "host") at /host, where `host9p` stands on the
//      kernel's command line;
//   6. runs /scenario, or an interactive shell where there is none, on the console;
//   7. writes the exit code to /share/exit-code and powers off.
//
// The scenario's environment: GENERATION counts the kernels since power-on, from 0 (kept in
// /share/generation, which whoever boots the next kernel need not know of); INIT_TSC is the
// time-stamp counter when init began, which a kexec does not reset; LUOD_READY is 1 where luod said
// in time that it is ready, 0 where it did not. A kexec is the scenario's own
// doing (`luoctl upgrade`): the next kernel starts again at 1.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

namespace {

constexpr char kLuod[] = "/sbin/luod";
constexpr char kScenario[] = "/scenario";
constexpr char kReadySocket[] = "/run/luod.ready";
constexpr int kReadyLimitMs = 20'000;

// One line to the console, the only voice there is this early.
__attribute__((format(printf, 1, 2))) void Say(const char* format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fputs("init: ", stderr);
  vfprintf(stderr, format, arguments);
  fputs("\n", stderr);
  va_end(arguments);
}

// A mount that fails is said, not fatal: the scenario shows what is missing.
void Mount(const char* source, const char* target, const char* type, unsigned long flags = 0,
           const char* options = nullptr) {
  mkdir(target, 0755);
  if (mount(source, target, type, flags, options) < 0) {
    Say("mount %s on %s: %s", source, target, strerror(errno));
  }
}

void WriteFile(const char* path, const char* text) {
  const int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, text, strlen(text)) < 0) Say("%s: %s", path, strerror(errno));
  if (fd >= 0) close(fd);
}

// Whether `word` stands on the kernel's command line.
bool OnCommandLine(const char* word) {
  char line[4096] = {};
  const int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  const bool read_any = read(fd, line, sizeof(line) - 1) > 0;
  close(fd);
  if (!read_any) return false;
  for (char* next = strtok(line, " \n"); next != nullptr; next = strtok(nullptr, " \n")) {
    if (strcmp(next, word) == 0) return true;
  }
  return false;
}

// Starts `argv` in a session of its own, its standard streams on `log` when that is given. Returns
// its pid, or -1.
pid_t Start(char* const argv[], const char* log) {
  const pid_t pid = fork();
  if (pid != 0) return pid;
  setsid();
  if (log != nullptr) {
    const int fd = open(log, O_WRONLY | O_CREAT | O_APPEND, 0644);
    const int null = open("/dev/null", O_RDONLY);
    if (fd >= 0 && null >= 0) {
      dup2(null, STDIN_FILENO);
      dup2(fd, STDOUT_FILENO);
      dup2(fd, STDERR_FILENO);
    }
  } else {
    ioctl(STDIN_FILENO, TIOCSCTTY, 1);  // Control-C reaches the interactive shell's children.
  }
  execv(argv[0], argv);
  Say("%s: %s", argv[0], strerror(errno));
  _exit(127);
}

// Starts luod and waits until it is ready, or ended, or kReadyLimitMs are over: the rest of the
// boot would take the only CPU from guests that stand still. Returns its pid.
pid_t StartLuod() {
  sockaddr_un name = {.sun_family = AF_UNIX};
  strcpy(name.sun_path, kReadySocket);
  const int ready = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  if (bind(ready, reinterpret_cast<sockaddr*>(&name), sizeof(name)) < 0) {
    Say("%s: %s", kReadySocket, strerror(errno));
  }
  setenv("NOTIFY_SOCKET", kReadySocket, 1);
  char* const argv[] = {const_cast<char*>(kLuod), nullptr};
  const pid_t luod = Start(argv, "/share/luod.log");
  unsetenv("NOTIFY_SOCKET");

  constexpr int kTickMs = 100;
  bool is_ready = false;
  for (int waited = 0; !is_ready && waited < kReadyLimitMs; waited += kTickMs) {
    pollfd event = {.fd = ready, .events = POLLIN, .revents = 0};
    is_ready = poll(&event, 1, kTickMs) > 0;
    siginfo_t ended = {};  // left to ReapUntil()
    if (waitid(P_PID, luod, &ended, WEXITED | WNOHANG | WNOWAIT) < 0 || ended.si_pid != 0) break;
  }
  close(ready);
  if (!is_ready) Say("luod did not become ready");
  setenv("LUOD_READY", is_ready ? "1" : "0", 1);
  return luod;
}

// The number of this kernel since power-on; the next one finds it raised by one.
int CountGeneration() {
  constexpr char kPath[] = "/share/generation";
  char text[16] = {};
  const int fd = open(kPath, O_RDONLY | O_CLOEXEC);
  int generation = 0;
  if (fd >= 0) {
    if (read(fd, text, sizeof(text) - 1) > 0) generation = atoi(text);
    close(fd);
  }
  snprintf(text, sizeof(text), "%d\n", generation + 1);
  WriteFile(kPath, text);
  return generation;
}

void SetEnvironment(uint64_t tsc, int generation) {
  char text[32];
  snprintf(text, sizeof(text), "%d", generation);
  setenv("GENERATION", text, 1);
  snprintf(text, sizeof(text), "%llu", static_cast<unsigned long long>(tsc));
  setenv("INIT_TSC", text, 1);
}

void MountForLuod() {
  Mount("proc", "/proc", "proc");
  Mount("sysfs", "/sys", "sysfs");
  Mount("devtmpfs", "/dev", "devtmpfs");
  Mount("tmpfs", "/run", "tmpfs", 0, "mode=0755");
  // cache=none: what the scenario writes is the runner's at once, and the other way round.
  Mount("share", "/share", "9p", 0, "trans=virtio,version=9p2000.L,msize=262144,cache=none");
  WriteFile("/sys/kernel/mm/transparent_hugepage/shmem_enabled", "advise");
}

void MountTheRest() {
  Mount("tmpfs", "/tmp", "tmpfs");
  Mount("debugfs", "/sys/kernel/debug", "debugfs");
  Mount("devpts", "/dev/pts", "devpts");
  Mount("tmpfs", "/dev/shm", "tmpfs");
  if (!OnCommandLine("host9p")) return;
  Mount("host", "/host", "9p", MS_RDONLY, "trans=virtio,version=9p2000.L,msize=262144,cache=loose");
  Mount("/dev", "/host/dev", nullptr, MS_BIND | MS_REC);
  Mount("proc", "/host/proc", "proc");
  Mount("sysfs", "/host/sys", "sysfs");
  Mount("tmpfs", "/host/tmp", "tmpfs");
}

// Reaps whoever dies until `scenario` has; returns its exit code as a shell would say it.
int ReapUntil(pid_t scenario, pid_t luod) {
  while (true) {
    int status;
    const pid_t pid = wait(&status);
    if (pid < 0 && errno != EINTR) return 127;
    const int code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    if (pid == luod && pid > 0) Say("luod ended with code %d (its log: /share/luod.log)", code);
    if (pid == scenario) return code;
  }
}

}  // namespace

int main() {
  const uint64_t tsc = __rdtsc();
  setenv("PATH", "/usr/sbin:/usr/bin:/sbin:/bin", 1);
  setenv("HOME", "/", 1);
  MountForLuod();
  const pid_t luod = access(kLuod, X_OK) == 0 ? StartLuod() : -1;
  SetEnvironment(tsc, CountGeneration());
  MountTheRest();

  char shell[] = "/bin/sh";
  char login[] = "-l";
  char scenario_path[] = "/scenario";
  char* const run_scenario[] = {shell, scenario_path, nullptr};
  char* const run_shell[] = {shell, login, nullptr};
  const pid_t scenario = Start(access(kScenario, R_OK) == 0 ? run_scenario : run_shell, nullptr);
  char code[16];
  snprintf(code, sizeof(code), "%d\n", ReapUntil(scenario, luod));
  WriteFile("/share/exit-code", code);
  sync();
  reboot(RB_POWER_OFF);
  Say("power-off: %s", strerror(errno));
  return 1;
}
