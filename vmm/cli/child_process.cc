#include "vmm/cli/child_process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <thread>

#include "absl/strings/match.h"

namespace vmm {
namespace {

constexpr std::chrono::seconds kPatience{30};
constexpr std::chrono::milliseconds kStep{2};

// A file may be read while the child writes it, and a writer never waits.
UniqueFd Sink() {
  UniqueFd sink(memfd_create("output", MFD_CLOEXEC));
  if (!sink.valid()) abort();
  return sink;
}

std::string ContentsOf(int file) {
  struct stat info = {};
  fstat(file, &info);
  std::string text(info.st_size, '\0');
  const ssize_t count = pread(file, text.data(), text.size(), 0);
  text.resize(count < 0 ? 0 : count);
  return text;
}

// O_APPEND, since the child may open the file anew.
int Appending(int sink) {
  return open(("/proc/self/fd/" + std::to_string(sink)).c_str(), O_WRONLY | O_APPEND);
}

}  // namespace

ChildProcess::ChildProcess(const std::vector<std::string>& arguments, int terminal)
    : output_(Sink()), errors_(Sink()) {
  int pipe_ends[2];
  if (pipe2(pipe_ends, O_CLOEXEC) < 0) abort();
  const UniqueFd read_end(pipe_ends[0]);
  input_.Reset(pipe_ends[1]);
  std::vector<char*> argv;
  for (const std::string& argument : arguments) argv.push_back(const_cast<char*>(argument.data()));
  argv.push_back(nullptr);

  pid_ = fork();
  if (pid_ < 0) abort();
  if (pid_ > 0) return;
  setsid();
  if (terminal >= 0) ioctl(terminal, TIOCSCTTY, 0);
  dup2(terminal >= 0 ? terminal : read_end.get(), STDIN_FILENO);
  dup2(terminal >= 0 ? terminal : Appending(output_.get()), STDOUT_FILENO);
  dup2(Appending(errors_.get()), STDERR_FILENO);
  signal(SIGPIPE, SIG_DFL);
  close_range(STDERR_FILENO + 1, ~0U, 0);
  execvp(argv[0], argv.data());
  _exit(127);
}

ChildProcess::~ChildProcess() {
  if (Ended()) return;
  Signal(SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void ChildProcess::Input(absl::string_view text) {
  if (write(input_.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) abort();
}

void ChildProcess::Signal(int number) const { kill(pid_, number); }

std::string ChildProcess::output() const { return ContentsOf(output_.get()); }
std::string ChildProcess::errors() const { return ContentsOf(errors_.get()); }

bool ChildProcess::WaitForOutput(absl::string_view text) {
  return WaitForText(output_.get(), text);
}

bool ChildProcess::WaitForErrors(absl::string_view text) {
  return WaitForText(errors_.get(), text);
}

int ChildProcess::WaitForExit() {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (!Ended()) {
    if (std::chrono::steady_clock::now() > deadline) return -1;
    std::this_thread::sleep_for(kStep);
  }
  return WIFEXITED(wait_status_) ? WEXITSTATUS(wait_status_) : 1000 + WTERMSIG(wait_status_);
}

bool ChildProcess::Ended() {
  if (!ended_) ended_ = waitpid(pid_, &wait_status_, WNOHANG) == pid_;
  return ended_;
}

bool ChildProcess::WaitForText(int file, absl::string_view text) {
  const auto deadline = std::chrono::steady_clock::now() + kPatience;
  while (true) {
    const bool last_look = Ended() || std::chrono::steady_clock::now() > deadline;
    if (absl::StrContains(ContentsOf(file), text)) return true;
    if (last_look) return false;
    std::this_thread::sleep_for(kStep);
  }
}

std::string VmmProgram() { return std::filesystem::absolute("vmm/cli/vmm").string(); }

}  // namespace vmm
