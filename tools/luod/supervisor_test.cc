#include "tools/luod/supervisor.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>

namespace vmm {
namespace {

// Sessions need a kernel with LUO; a memfd whose name begins so stands for one.
constexpr absl::string_view kKept = "/memfd:session-";

// Runs Supervise() in a process of its own, as it wants to be called; its exit code.
int ExitCodeOf(
    const std::function<int(bool restarted)>& worker,
    const std::function<void(pid_t)>& meanwhile = [](pid_t) {}) {
  pid_t child = fork();
  if (child == 0) {
    for (int fd = 3; fd < 64; ++fd) close(fd);
    exit(Supervise(worker, kKept));
  }
  meanwhile(child);
  int wait_status = 0;
  EXPECT_EQ(waitpid(child, &wait_status, 0), child);
  EXPECT_TRUE(WIFEXITED(wait_status));
  return WEXITSTATUS(wait_status);
}

TEST(SupervisorTest, AWorkerThatReturnsIsNotRunAgain) {
  EXPECT_EQ(ExitCodeOf([](bool restarted) { return restarted ? 1 : 42; }), 42);
}

TEST(SupervisorTest, AKilledWorkersSessionsReachTheNextOne) {
  EXPECT_EQ(ExitCodeOf([](bool restarted) {
              if (!restarted) {
                int session = memfd_create("session-vm-a", MFD_CLOEXEC);
                if (write(session, "guest", 5) != 5) return 2;
                (void)memfd_create("other", MFD_CLOEXEC);
                kill(getpid(), SIGKILL);
              }
              auto held = TakeHeldSessions(kKept);
              if (!held.ok() || held->size() != 1) return 3;
              auto& [name, fd] = *held->begin();
              char bytes[5];
              if (name != "vm-a (deleted)" || pread(fd.get(), bytes, 5, 0) != 5) return 4;
              return memcmp(bytes, "guest", 5) == 0 ? 0 : 5;
            }),
            0);
}

TEST(SupervisorTest, WhatIsNoSessionIsClosedAsSoonAsTheWorkerDies) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  // Above what ExitCodeOf() closes.
  UniqueFd read_end(fds[0]);
  UniqueFd write_end(fcntl(fds[1], F_DUPFD_CLOEXEC, 100));
  close(fds[1]);
  EXPECT_EQ(ExitCodeOf(
                [](bool restarted) {
                  if (!restarted) kill(getpid(), SIGKILL);
                  return fcntl(100, F_GETFD) == -1 ? 0 : 1;
                },
                [&](pid_t) {
                  write_end.Reset();
                  char byte;
                  EXPECT_EQ(read(read_end.get(), &byte, 1), 0);
                }),
            0);
}

TEST(SupervisorTest, SigtermIsPassedOn) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  // Above what ExitCodeOf() closes.
  UniqueFd read_end(fds[0]);
  UniqueFd write_end(fcntl(fds[1], F_DUPFD_CLOEXEC, 100));
  close(fds[1]);
  EXPECT_EQ(ExitCodeOf(
                [](bool) {
                  if (write(100, "w", 1) != 1) return 1;
                  sigset_t set;
                  sigemptyset(&set);
                  sigaddset(&set, SIGTERM);
                  int signal = 0;
                  sigwait(&set, &signal);
                  return signal == SIGTERM ? 7 : 8;
                },
                [&](pid_t supervisor) {
                  char byte;
                  EXPECT_EQ(read(read_end.get(), &byte, 1), 1);
                  kill(supervisor, SIGTERM);
                }),
            7);
}

TEST(SupervisorTest, AKilledSupervisorEndsTheWorkerBySigterm) {
  int fds[2];
  ASSERT_EQ(pipe2(fds, O_CLOEXEC), 0);
  UniqueFd read_end(fds[0]);
  UniqueFd write_end(fcntl(fds[1], F_DUPFD_CLOEXEC, 100));
  close(fds[1]);
  pid_t supervisor = fork();
  if (supervisor == 0) {
    exit(Supervise(
        [](bool) {
          if (write(100, "w", 1) != 1) return 1;
          sigset_t set;
          sigemptyset(&set);
          sigaddset(&set, SIGTERM);
          int signal = 0;
          sigwait(&set, &signal);
          return write(100, "t", 1) == 1 ? 0 : 1;
        },
        kKept));
  }
  write_end.Reset();
  char byte = 0;
  ASSERT_EQ(read(read_end.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 'w');
  kill(supervisor, SIGKILL);
  waitpid(supervisor, nullptr, 0);
  ASSERT_EQ(read(read_end.get(), &byte, 1), 1);
  EXPECT_EQ(byte, 't');
}

}  // namespace
}  // namespace vmm
