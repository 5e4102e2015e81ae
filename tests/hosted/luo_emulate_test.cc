// luo-emulate as a whole: unmodified programs go through hosted kexecs.
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <grp.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "base/unique_fd.h"
#include "luo_kernel/hosted/inspect_socket.h"
#include "luo_kernel/kho/extent_memory.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/luo/image.h"

namespace luo {
namespace {

using ::testing::HasSubstr;
using ::vmm::UniqueFd;
using Words = std::vector<std::string>;

std::string Path(const std::string& file) {
  return absl::StrCat(getenv("TEST_SRCDIR"), "/", getenv("TEST_WORKSPACE"), "/", file);
}
std::string Emulate() { return Path("tools/luo_emulate/luo-emulate"); }
std::string Program() { return Path("tests/hosted/update_program"); }

struct Result {
  int code = -1;
  std::string output;  // of both streams
};

// A process of ours whose output we read.
class Process {
 public:
  // As another user, if `user` says so.
  explicit Process(const Words& command, uid_t user = 0) {
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0) abort();
    output_.Reset(fds[0]);
    UniqueFd theirs(fds[1]);
    std::vector<char*> arguments;
    for (const std::string& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    pid_ = fork();
    if (pid_ == 0) {
      dup2(theirs.get(), STDOUT_FILENO);
      dup2(theirs.get(), STDERR_FILENO);
      if (user != 0 && (setgroups(0, nullptr) < 0 || setgid(user) < 0 || setuid(user) < 0))
        _exit(126);
      execv(arguments[0], arguments.data());
      _exit(127);
    }
  }
  ~Process() {
    if (pid_ > 0) {
      kill(pid_, SIGKILL);
      waitpid(pid_, nullptr, 0);
    }
  }

  pid_t pid() const { return pid_; }
  // Until a line with `text` has come; false at the output's end.
  bool WaitFor(const std::string& text) {
    while (!absl::StrContains(read_, text)) {
      if (!ReadMore()) return false;
    }
    return true;
  }
  Result Wait() {
    while (ReadMore()) {
    }
    int status = 0;
    waitpid(pid_, &status, 0);
    pid_ = 0;
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_};
  }

 private:
  bool ReadMore() {
    char bytes[4096];
    const ssize_t size = read(output_.get(), bytes, sizeof(bytes));
    if (size > 0) read_.append(bytes, static_cast<size_t>(size));
    return size > 0;
  }

  UniqueFd output_;
  std::string read_;
  pid_t pid_;
};

Result Emulated(Words arguments) {
  arguments.insert(arguments.begin(), Emulate());
  return Process(arguments).Wait();
}

// A command for a shell, in which $EMULATE and $PROGRAM are ours.
std::string Script(const std::string& text) {
  return absl::StrCat("EMULATE=", Emulate(), "; PROGRAM=", Program(), "; ", text);
}
Words Shell(const std::string& text) { return {"--", "/bin/sh", "-c", Script(text)}; }
Words operator+(Words a, const Words& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

class LuoEmulateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const Result result = Emulated(Words{"--", "/bin/true"});
    if (absl::StrContains(result.output, "seccomp notifications")) GTEST_SKIP() << result.output;
    ASSERT_EQ(result.code, 0) << result.output;
    char name[] = "/tmp/luo_emulate_test.XXXXXX";
    ASSERT_NE(mkdtemp(name), nullptr);
    folder_ = name;
    socket_ = folder_ + "/socket";
  }
  void TearDown() override {
    if (folder_.empty()) return;
    EXPECT_EQ(system(("rm -rf " + folder_).c_str()), 0);
  }

  std::string folder_;
  std::string socket_;
};

TEST_F(LuoEmulateTest, PassesTheExitCodeOn) {
  EXPECT_EQ(Emulated(Shell("exit 3")).code, 3);
  EXPECT_EQ(Emulated(Shell("kill -9 $$")).code, 128 + SIGKILL);
  EXPECT_EQ(Emulated(Words{"--next", "exit 5"} + Shell("$EMULATE --kexec")).code, 5);
}

TEST_F(LuoEmulateTest, SaysWhatIsWrong) {
  const Result missing = Emulated(Words{"--", "/no/such/program"});
  EXPECT_EQ(missing.code, 125);
  EXPECT_THAT(missing.output, HasSubstr("/no/such/program: No such file"));
  EXPECT_EQ(Emulated(Words{}).code, 2);
  EXPECT_EQ(Emulated(Words{"--kexec", "--", "/bin/true"}).code, 2);
  EXPECT_EQ(Emulated(Words{"--join", socket_}).code, 2);
  EXPECT_EQ(Emulated(Words{"--metadata", "4097", "--", "/bin/true"}).code, 125);
  const Result nobody = Emulated(Words{"--join", socket_, "--", "/bin/true"});
  EXPECT_EQ(nobody.code, 125);
  EXPECT_THAT(nobody.output, HasSubstr(socket_ + ": No such file"));
  const Result nested = Emulated(Shell("$EMULATE -- /bin/true"));
  EXPECT_EQ(nested.code, 125);
  EXPECT_THAT(nested.output, HasSubstr("supervised by them already"));
}

TEST_F(LuoEmulateTest, OutsideAnInstanceKexecDoesNothing) {
  const Result result = Emulated(Words{"--kexec"});
  EXPECT_EQ(result.code, 125);
  EXPECT_THAT(result.output, HasSubstr("kexec_file_load"));
}

TEST_F(LuoEmulateTest, ThreeKexecsInARowHandFilesOver) {
  const Result result = Emulated(Words{"--reexec", "--", Program(), "chain", "3"});
  EXPECT_EQ(result.code, 42) << result.output;
  EXPECT_EQ(result.output, "chain: 1\nchain: 2\nchain: 3\n");
}

TEST_F(LuoEmulateTest, WorksWithoutPrivileges) {
  if (geteuid() != 0) GTEST_SKIP() << "as all the other tests";
  // Where that user can reach them.
  ASSERT_EQ(chmod(folder_.c_str(), 0755), 0);
  ASSERT_EQ(
      system(absl::StrCat("install -m 755 ", Emulate(), " ", Program(), " ", folder_).c_str()), 0);
  constexpr uid_t kNobody = 65534;
  Process process(
      {folder_ + "/luo-emulate", "--reexec", "--", folder_ + "/update_program", "chain", "2"},
      kNobody);
  const Result result = process.Wait();
  EXPECT_EQ(result.code, 42) << result.output;
}

TEST_F(LuoEmulateTest, OutlivesTheReaderOfItsMessages) {
  // "no command for the next boot" goes to nobody; the exit code is what it would be.
  const std::string command =
      absl::StrCat("{ ", Emulate(), " -- ", Emulate(), " --kexec; echo rc=$? >", folder_,
                   "/rc; } 2>&1 | true; cat ", folder_, "/rc");
  Process process({"/bin/sh", "-c", command});
  EXPECT_EQ(process.Wait().output, "rc=0\n");
}

TEST_F(LuoEmulateTest, EachBootHasItsCommand) {
  const Result result =
      Emulated(Words{"--next", Script("echo b $LUO_GENERATION; $EMULATE --kexec"), "--next",
                     Script("echo c $LUO_GENERATION; $EMULATE --kexec")} +
               Shell("echo a $LUO_GENERATION; $EMULATE --kexec"));
  EXPECT_EQ(result.code, 0);
  EXPECT_THAT(result.output, HasSubstr("a 0\nb 1\nc 2\n"));
  EXPECT_THAT(result.output, HasSubstr("no command for the next boot"));
}

TEST_F(LuoEmulateTest, TheKernelsCommandLineReachesTheNextBoot) {
  const Result result = Emulated(Words{"--next", "echo [$LUO_CMDLINE]", "--", Program(), "closed"});
  EXPECT_EQ(result.output, "[console=ttyS0]\n");
}

TEST_F(LuoEmulateTest, WithoutAKernelNoKexec) {
  const Result result = Emulated(Words{"--", Program(), "not-loaded"});
  EXPECT_EQ(result.code, 0) << result.output;
}

TEST_F(LuoEmulateTest, LoadsAreChecked) {
  const Result result = Emulated(Words{"--", Program(), "bad-loads"});
  EXPECT_EQ(result.code, 0) << result.output;
}

TEST_F(LuoEmulateTest, AFailedFreezeIsUndone) {
  const Result result = Emulated(Words{"--next",
                                       Script("$PROGRAM absent good && $PROGRAM absent bad && "
                                              "$PROGRAM check 'after failure' && exit 9"),
                                       "--", Program(), "failed-freeze"});
  EXPECT_EQ(result.code, 9) << result.output;
}

TEST_F(LuoEmulateTest, WhatIsClosedBeforeIsNotHandedOver) {
  const Result result =
      Emulated(Words{"--next", Script("$PROGRAM absent closed && $PROGRAM check kept"), "--",
                     Program(), "closed"});
  EXPECT_EQ(result.code, 0) << result.output;
}

TEST_F(LuoEmulateTest, ProgramsOfOneShellShareTheInstance) {
  const Result result =
      Emulated(Words{"--next", Script("for name in a b c; do $PROGRAM check $name || exit 1; done; "
                                      "$PROGRAM absent killed || exit 2")} +
               Shell("for name in a b c killed; do $PROGRAM hold $name & done | { "
                     "for i in 1 2 3 4; do read line; done; }; exit 8"));
  // Nobody asked for a kexec: all ends with the shell.
  EXPECT_EQ(result.code, 8) << result.output;

  const Result updated =
      Emulated(Words{"--next", Script("for name in a b c; do $PROGRAM check $name || exit 1; done; "
                                      "$PROGRAM absent killed || exit 2")} +
               Shell(absl::StrCat("cd ", folder_,
                                  "; mkfifo lines; exec 3<>lines; "
                                  "for name in a b c killed; do "
                                  "$PROGRAM hold $name >lines & last=$!; read line <&3; done; "
                                  "kill -9 $last; wait $last; $EMULATE --kexec")));
  EXPECT_EQ(updated.code, 0) << updated.output;
}

TEST_F(LuoEmulateTest, AKexecEndsEveryProgram) {
  const std::string pids = folder_ + "/pids";
  const Result result = Emulated(
      Words{"--next", absl::StrCat("for pid in $(cat ", pids,
                                   "); do if kill -0 $pid; then exit 1; fi; done; exit 6")} +
      Shell(absl::StrCat("for i in 1 2 3; do setsid sh -c 'trap \"\" TERM; echo $$ >>", pids,
                         "; while :; do sleep 100; done' & done; "
                         "until [ \"$(wc -l <",
                         pids,
                         ")\" = 3 ]; do sleep 0.01; done; "
                         "$EMULATE --kexec")));
  EXPECT_EQ(result.code, 6) << result.output;
}

TEST_F(LuoEmulateTest, TheInstanceEndsWithItsFirstProgram) {
  const std::string pid_file = folder_ + "/pid";
  const Result result = Emulated(
      Shell(absl::StrCat("setsid sleep 1000 >/dev/null 2>&1 & echo $! >", pid_file, "; exit 4")));
  EXPECT_EQ(result.code, 4);
  EXPECT_NE(system(absl::StrCat("kill -0 $(cat ", pid_file, ") 2>/dev/null").c_str()), 0);
}

TEST_F(LuoEmulateTest, APowerOffEndsTheInstance) {
  EXPECT_EQ(Emulated(Words{"--reexec", "--", Program(), "power-off"}).code, 0);
}

TEST_F(LuoEmulateTest, ARestartHandsNothingOver) {
  const Result result =
      Emulated(Words{"--next", Script("$PROGRAM absent a && exit 6")} +
               Shell(absl::StrCat("cd ", folder_,
                                  "; mkfifo lines; exec 3<>lines; "
                                  "$PROGRAM hold a >lines & read line <&3; $PROGRAM restart")));
  EXPECT_EQ(result.code, 6) << result.output;
}

TEST_F(LuoEmulateTest, ThirtyTwoBitCallsGetNothing) {
  const Result result = Emulated(Words{"--", Program(), "i386"});
  if (result.code == 77) GTEST_SKIP() << "this kernel has no 32-bit system calls";
  EXPECT_EQ(result.code, 0);
}

TEST_F(LuoEmulateTest, PassesSignalsOn) {
  Process process({Emulate(), "--", "/bin/sh", "-c",
                   "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done"});
  ASSERT_TRUE(process.WaitFor("ready"));
  ASSERT_EQ(kill(process.pid(), SIGTERM), 0);
  EXPECT_EQ(process.Wait().code, 7);
}

TEST_F(LuoEmulateTest, ProgramsDieWithTheirSupervisor) {
  Process process({Emulate(), "--", "/bin/sh", "-c", "echo pid=$$; while :; do sleep 0.01; done"});
  ASSERT_TRUE(process.WaitFor("\n"));
  ASSERT_EQ(kill(process.pid(), SIGKILL), 0);
  // The output ends when the program is gone.
  EXPECT_EQ(process.Wait().code, 128 + SIGKILL);
}

TEST_F(LuoEmulateTest, OthersJoinAnInstance) {
  Process server({Emulate(), "--socket", socket_});
  while (access(socket_.c_str(), F_OK) != 0) std::this_thread::yield();
  const Words join = {"--join", socket_};
  EXPECT_EQ(Emulated(join + Shell("exit 4")).code, 4);
  EXPECT_EQ(Emulated(join + Words{"--", Program(), "absent", "a"}).code, 0);

  Process holder({Emulate(), "--join", socket_, "--", Program(), "hold", "a"});
  ASSERT_TRUE(holder.WaitFor("held"));
  // Killed by the kexec as whoever asked for it.
  EXPECT_EQ(Emulated(join + Words{"--", Emulate(), "--kexec"}).code, 128 + SIGKILL);
  EXPECT_EQ(holder.Wait().code, 128 + SIGKILL);
  const Result check = Emulated(join + Words{"--", Program(), "check", "a"});
  EXPECT_EQ(check.code, 0) << check.output;

  ASSERT_EQ(kill(server.pid(), SIGTERM), 0);
  EXPECT_EQ(server.Wait().code, 0);
  EXPECT_EQ(access(socket_.c_str(), F_OK), -1);
}

TEST_F(LuoEmulateTest, WhatAJoinerLeavesRunningStays) {
  Process server({Emulate(), "--socket", socket_});
  while (access(socket_.c_str(), F_OK) != 0) std::this_thread::yield();
  const Words join = {"--join", socket_};
  // Its output, too, must not wait for what it left.
  const Result left =
      Emulated(join + Shell(absl::StrCat("cd ", folder_,
                                         "; mkfifo lines; exec 3<>lines; "
                                         "$PROGRAM hold a >lines 2>/dev/null & read line <&3")));
  EXPECT_EQ(left.code, 0) << left.output;
  EXPECT_EQ(Emulated(join + Words{"--", Emulate(), "--kexec"}).code, 128 + SIGKILL);
  const Result check = Emulated(join + Words{"--", Program(), "check", "a"});
  EXPECT_EQ(check.code, 0) << check.output;
}

TEST_F(LuoEmulateTest, ShowsItsMemory) {
  Process process(
      {Emulate(), "--metadata", "8MiB", "--socket", socket_, "--", Program(), "hold", "a"});
  ASSERT_TRUE(process.WaitFor("held"));
  absl::StatusOr<InspectedMachine> machine = InspectHosted(socket_);
  ASSERT_TRUE(machine.ok()) << machine.status();
  EXPECT_EQ(machine->generation, 0U);
  EXPECT_FALSE(machine->kexec_image);
  ASSERT_EQ(machine->extents.size(), 2U);  // metadata, and the file
  ExtentMemory memory;
  for (const InspectedExtent& extent : machine->extents) {
    EXPECT_EQ(fcntl(extent.file.get(), F_GETFL) & O_ACCMODE, O_RDONLY);
    std::string bytes(extent.range.size, '\0');
    ASSERT_GT(pread(extent.file.get(), bytes.data(), bytes.size(), extent.offset), 0);
    if (extent.use == ExtentUse::kData) {
      EXPECT_THAT(bytes, HasSubstr("contents of a"));
    }
    absl::StatusOr<UniqueFd> copy = NewMemoryFile("copy", bytes.size());
    ASSERT_TRUE(copy.ok()) << copy.status();
    ASSERT_EQ(pwrite(copy->get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    const absl::Status added =
        memory.Add(extent.range.start, *std::move(copy), 0, extent.range.size, extent.use);
    ASSERT_TRUE(added.ok()) << added;
  }
  absl::StatusOr<IncomingHandover> handover = IncomingHandover::Open(memory, machine->handover);
  ASSERT_TRUE(handover.ok()) << handover.status();
  absl::StatusOr<Subtree> subtree = handover->FindSubtree("LUO");
  ASSERT_TRUE(subtree.ok()) << subtree.status();
  absl::StatusOr<LuoImage> luo = ReadLuo(memory, subtree->address, subtree->size);
  ASSERT_TRUE(luo.ok()) << luo.status();
  EXPECT_EQ(luo->version, "luo-v5");
}

TEST_F(LuoEmulateTest, NonsenseOnTheSocketDoesNoHarm) {
  Process server({Emulate(), "--socket", socket_});
  while (access(socket_.c_str(), F_OK) != 0) std::this_thread::yield();
  for (const size_t size : {size_t{1}, sizeof(SocketRequest), sizeof(SocketRequest) + 1}) {
    absl::StatusOr<UniqueFd> socket = ConnectTo(socket_);
    ASSERT_TRUE(socket.ok()) << socket.status();
    const std::vector<uint8_t> bytes(size, 0xff);
    EXPECT_TRUE(SendPacket(socket->get(), bytes, {STDIN_FILENO}).ok());
    const absl::StatusOr<Packet> answer = ReceivePacket(socket->get(), 100);
    EXPECT_TRUE(!answer.ok() || answer->bytes.empty());
  }
  // A join with something that is no listener.
  absl::StatusOr<UniqueFd> socket = ConnectTo(socket_);
  ASSERT_TRUE(socket.ok());
  const SocketRequest join = {kSocketMagic, kSocketVersion, 2, 0};
  const auto bytes = absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&join), sizeof(join));
  EXPECT_TRUE(SendPacket(socket->get(), bytes, {STDIN_FILENO}).ok());
  const absl::StatusOr<Packet> answer = ReceivePacket(socket->get(), 100);
  EXPECT_TRUE(!answer.ok() || answer->bytes.empty());
  EXPECT_TRUE(InspectHosted(socket_).ok());
  // There is one listener to a socket.
  const Result second = Emulated(Words{"--socket", socket_, "--", "/bin/true"});
  EXPECT_EQ(second.code, 125);
  EXPECT_TRUE(InspectHosted(socket_).ok());
}

}  // namespace
}  // namespace luo
