// FakeClock, FakeHost, FakeKexec, FakeSpawner: time, machine, kernel and processes of luod's unit
// tests.
#ifndef TOOLS_LUOD_FAKES_H_
#define TOOLS_LUOD_FAKES_H_

#include <fcntl.h>
#include <sys/types.h>

#include <chrono>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "tools/luod/clock.h"
#include "tools/luod/host.h"
#include "tools/luod/kexec.h"
#include "tools/luod/spawner.h"

namespace vmm {

// Stands still until Advance(); its TSC counts a microsecond a reading, at 1 MHz.
class FakeClock : public Clock {
 public:
  TimePoint Now() const override { return now_; }
  uint64_t Tsc() const override { return ++tsc_; }
  uint64_t TscKhz() const override { return 1000; }
  void Advance(std::chrono::milliseconds time) { now_ += time; }

 private:
  TimePoint now_{std::chrono::seconds(1000)};
  mutable uint64_t tsc_ = 0;
};

// Says what it is told to.
class FakeHost : public Host {
 public:
  absl::Status CheckKernel(int) override { return kernel_status; }
  absl::Status CheckCommandLine(const std::string&) override { return command_line_status; }
  absl::Status CheckProgram(const std::string& path) override {
    return path == lost_program ? absl::NotFoundError("no such program") : absl::OkStatus();
  }
  absl::StatusOr<uint64_t> AvailableMemory() override { return available_memory; }
  absl::Status Sync(std::chrono::milliseconds) override {
    ++syncs;
    return sync_status;
  }

  absl::Status kernel_status;
  absl::Status command_line_status;
  std::string lost_program;
  absl::StatusOr<uint64_t> available_memory = uint64_t{1} << 30;
  absl::Status sync_status;
  int syncs = 0;
};

// Never leaves this kernel. What it is asked is recorded in `calls`.
class FakeKexec : public Kexec {
 public:
  absl::Status Load(int kernel_fd, int initrd_fd, const std::string& command_line) override {
    calls.push_back("load");
    loaded = load_status.ok() && kernel_fd >= 0;
    had_initrd = initrd_fd >= 0;
    last_command_line = command_line;
    return load_status;
  }
  absl::Status Unload() override {
    calls.push_back("unload");
    loaded = false;
    return absl::OkStatus();
  }
  absl::Status Execute() override {
    calls.push_back("execute");
    on_execute();
    return execute_status;
  }

  absl::Status load_status;
  // A real one that worked would not return.
  absl::Status execute_status = absl::InternalError("still here");
  std::function<void()> on_execute = [] {};
  std::vector<std::string> calls;
  bool loaded = false;
  bool had_initrd = false;
  std::string last_command_line;
};

// Starts nothing, but holds what a child would hold: its own descriptor of the session.
class FakeSpawner : public ResumeSpawner {
 public:
  struct Child {
    pid_t pid;
    std::vector<std::string> argv;
    UniqueFd session;
  };

  absl::StatusOr<pid_t> Spawn(const std::vector<std::string>& argv, int session_fd) override {
    if (argv[0] == fail_program) return absl::NotFoundError("no such program");
    children.push_back({next_pid_++, argv, UniqueFd(fcntl(session_fd, F_DUPFD_CLOEXEC, 0))});
    return children.back().pid;
  }

  std::vector<Child> children;
  std::string fail_program;

 private:
  pid_t next_pid_ = 1000;
};

}  // namespace vmm

#endif  // TOOLS_LUOD_FAKES_H_
