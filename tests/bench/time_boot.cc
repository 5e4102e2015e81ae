// Times a VMM from its start to its guest's first line, and weighs it.
//
//   time_boot RAM_MIB COMMAND...
//
// COMMAND runs a VM with one RAM region of RAM_MIB MiB whose console is COMMAND's standard output
// and whose /init is greeting_init. Prints "MS KIB": milliseconds from before the exec to the
// greeting, and what the process has resident then beside that region: the sum of Rss in
// /proc/PID/smaps (proc(5)) over the mappings of any other size. The VM is killed afterwards.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <string>

#include "base/unique_fd.h"

namespace {

using vmm::UniqueFd;

constexpr char kGreeting[] = "GUEST-INIT";
constexpr double kTimeoutMs = 120'000;
// After the greeting: the guest's kernel ends what it does in the background, the VMM what it did
// for the boot.
constexpr useconds_t kSettleMicroseconds = 500'000;

double NowMs() {
  timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return now.tv_sec * 1e3 + now.tv_nsec / 1e6;
}

// When the greeting came, or nothing where the output ends or time is up before.
std::optional<double> AwaitGreeting(int output, double deadline_ms) {
  std::string text;
  while (true) {
    pollfd readable = {output, POLLIN, 0};
    const int left_ms = static_cast<int>(deadline_ms - NowMs());
    if (left_ms <= 0 || poll(&readable, 1, left_ms) < 0) return std::nullopt;
    char buffer[4096];
    const ssize_t length = read(output, buffer, sizeof(buffer));
    const double now_ms = NowMs();
    if (length <= 0) return std::nullopt;
    text.append(buffer, length);
    if (text.find(kGreeting) != std::string::npos) return now_ms;
  }
}

// Of all mappings but those of `ram_kib`.
long ResidentKib(pid_t pid, long ram_kib) {
  std::ifstream smaps("/proc/" + std::to_string(pid) + "/smaps");
  long sum = 0;
  long size = 0;
  for (std::string line; std::getline(smaps, line);) {
    long value;
    if (sscanf(line.c_str(), "Size: %ld kB", &value) == 1) size = value;
    if (sscanf(line.c_str(), "Rss: %ld kB", &value) == 1 && size != ram_kib) sum += value;
  }
  return sum;
}

[[noreturn]] void Execute(int output, char** command) {
  dup2(open("/dev/null", O_RDONLY), STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  execvp(command[0], command);
  perror(command[0]);
  _exit(127);
}

int Run(long ram_mib, char** command) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) < 0) {
    perror("pipe2");
    return 1;
  }
  const UniqueFd output(ends[0]);
  UniqueFd input(ends[1]);
  const double start_ms = NowMs();
  const pid_t pid = fork();
  if (pid < 0) {
    perror("fork");
    return 1;
  }
  if (pid == 0) Execute(input.get(), command);
  input.Reset();
  const std::optional<double> greeting_ms = AwaitGreeting(output.get(), start_ms + kTimeoutMs);
  if (greeting_ms.has_value()) {
    usleep(kSettleMicroseconds);
    printf("%.1f %ld\n", *greeting_ms - start_ms, ResidentKib(pid, ram_mib * 1024));
  }
  kill(pid, SIGKILL);
  waitpid(pid, nullptr, 0);
  if (!greeting_ms.has_value()) fprintf(stderr, "time_boot: %s: no greeting\n", command[0]);
  return greeting_ms.has_value() ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: time_boot RAM_MIB COMMAND...\n");
    return 2;
  }
  return Run(atol(argv[1]), argv + 2);
}
