#include "tools/luod/spawner.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/unique_fd.h"

namespace vmm {
namespace {

// What the child writes into its "session", the pipe it gets as descriptor 3.
std::string Output(const std::string& script) {
  int fds[2];
  EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
  UniqueFd read_end(fds[0]);
  UniqueFd write_end(fds[1]);
  ProcessSpawner spawner("/run/luod.sock");
  absl::StatusOr<pid_t> pid = spawner.Spawn({"/bin/sh", "-c", script, "name"}, write_end.get());
  EXPECT_TRUE(pid.ok()) << pid.status();
  if (!pid.ok()) return "";
  write_end.Reset();
  std::string all;
  char buffer[4096];
  ssize_t got;
  while ((got = read(read_end.get(), buffer, sizeof(buffer))) > 0) all.append(buffer, got);
  int wait_status = 0;
  EXPECT_EQ(waitpid(*pid, &wait_status, 0), *pid);
  EXPECT_EQ(wait_status, 0);
  return all;
}

TEST(SpawnerTest, PassesTheSessionAndTheSocket) {
  EXPECT_EQ(Output("echo \"$@\" >&3"), "--session-fd 3 --luod /run/luod.sock\n");
}

TEST(SpawnerTest, LeaksNoOtherDescriptor) {
  UniqueFd other(fcntl(0, F_DUPFD, 100));  // not even close-on-exec
  EXPECT_EQ(Output("for fd in 3 4 5 6 7 8 9 " + std::to_string(other.get()) +
                   "; do [ -e /proc/$$/fd/$fd ] && echo $fd; done >&3; true"),
            "3\n");
}

TEST(SpawnerTest, AChildDoesNotIgnoreWhatLuodIgnores) {
  signal(SIGHUP, SIG_IGN);
  signal(SIGPIPE, SIG_IGN);
  const std::string ignored = Output(
      "while read key value rest; do case $key in SigIgn:) echo $value >&3;; esac; done "
      "</proc/$$/status");
  ASSERT_EQ(ignored.size(), 17u);
  const uint64_t both = uint64_t{1} << (SIGHUP - 1) | uint64_t{1} << (SIGPIPE - 1);
  EXPECT_EQ(strtoull(ignored.c_str(), nullptr, 16) & both, 0u) << ignored;
  signal(SIGHUP, SIG_DFL);
  signal(SIGPIPE, SIG_DFL);
}

TEST(SpawnerTest, AChildLeadsItsOwnSessionWithNoSignalBlocked) {
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigset_t before;
  sigprocmask(SIG_BLOCK, &blocked, &before);
  EXPECT_EQ(
      Output("while read key value rest; do case $key in SigBlk:) echo $value >&3;; esac; done "
             "</proc/$$/status; read pid name state parent group session rest </proc/$$/stat; "
             "[ $session = $$ ] && echo leads >&3"),
      "0000000000000000\nleads\n");
  sigprocmask(SIG_SETMASK, &before, nullptr);
}

TEST(SpawnerTest, WorksWhenTheSessionAlreadyIsDescriptorThree) {
  // Frees 3 (what the test runner left there stays open elsewhere) and puts a pipe in its place.
  UniqueFd saved(fcntl(3, F_DUPFD_CLOEXEC, 10));
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  UniqueFd read_end(fcntl(fds[0], F_DUPFD_CLOEXEC, 10));
  int write_end = fcntl(fds[1], F_DUPFD_CLOEXEC, 10);
  close(fds[0]);
  close(fds[1]);
  ASSERT_EQ(dup3(write_end, 3, O_CLOEXEC), 3);
  close(write_end);
  ProcessSpawner spawner("/s");
  absl::StatusOr<pid_t> pid = spawner.Spawn({"/bin/sh", "-c", "echo here >&3"}, 3);
  ASSERT_TRUE(pid.ok());
  if (saved.valid()) {
    dup3(saved.get(), 3, O_CLOEXEC);
  } else {
    close(3);
  }
  char buffer[16] = {};
  EXPECT_EQ(read(read_end.get(), buffer, sizeof(buffer)), 5);
  waitpid(*pid, nullptr, 0);
}

TEST(SpawnerTest, SaysWhatCannotBeStarted) {
  ProcessSpawner spawner("/s");
  absl::StatusOr<pid_t> pid = spawner.Spawn({"/nonexistent/vmm", "resume"}, 0);
  EXPECT_EQ(pid.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(pid.status().message().find("/nonexistent/vmm"), absl::string_view::npos);
  EXPECT_FALSE(spawner.Spawn({}, 0).ok());
}

}  // namespace
}  // namespace vmm
