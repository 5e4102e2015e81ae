// `vmm run` from its start to its end, on real KVM: what a user sees, types and gets as exit code.
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/boot/test_kernel.h"
#include "vmm/cli/child_process.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/name_lock.h"
#include "vmm/kvm/kvm.h"
#include "vmm/live_update/messages.h"
#include "vmm/live_update/protocol.h"
#include "vmm/live_update/socket.h"

namespace vmm {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

class RunTest : public ::testing::Test {
 protected:
  void SetUp() override {
    if (absl::Status status = Kvm::Open().status(); !status.ok()) GTEST_SKIP() << status;
    char name[] = "/tmp/run-test-XXXXXX";  // short: a socket's path is at most 107 bytes
    ASSERT_NE(mkdtemp(name), nullptr);
    directory_ = name;
    const std::vector<uint8_t> kernel = TestKernel();
    std::ofstream(directory_ / "kernel", std::ios::binary)
        .write(reinterpret_cast<const char*>(kernel.data()), kernel.size());
    before_ = fs::current_path();
    fs::current_path(directory_);
  }
  void TearDown() override {
    if (directory_.empty()) return;
    EXPECT_EQ(std::distance(fs::directory_iterator("."), fs::directory_iterator()), 1)
        << "something is left beside the kernel";
    fs::current_path(before_);
    fs::remove_all(directory_);
    fs::remove(absl::StrCat(NameLock::Folder(), "/", name_, ".lock"));
  }

  // The kernel is named by a relative path, on purpose.
  Arguments Vmm(const Arguments& more = {}) const {
    Arguments all = {program_,         "run",         "--kernel=kernel",
                     "--memory=64M",   "--luod=none", "--hugepages=off",
                     "--name=" + name_};
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  const std::string program_ = VmmProgram();
  const std::string name_ = absl::StrCat("run-test-", getpid());
  fs::path before_;
  fs::path directory_;
};

TEST_F(RunTest, PowerOff) {
  ChildProcess vmm(Vmm({"--cmdline=o"}));
  EXPECT_EQ(vmm.WaitForExit(), kExitPowerOff);
  EXPECT_EQ(vmm.output(), "up\n");
  EXPECT_EQ(vmm.errors(), "");
}

TEST_F(RunTest, TripleFault) {
  ChildProcess vmm(Vmm({"--cmdline=t"}));
  EXPECT_EQ(vmm.WaitForExit(), kExitTripleFault);
  EXPECT_EQ(vmm.errors(), "vmm: the guest triple-faulted\n");
}

TEST_F(RunTest, ResetThatEndsIt) {
  for (const char* command : {"r", "k"}) {
    ChildProcess vmm(Vmm({"--on-reset=exit", absl::StrCat("--cmdline=", command)}));
    EXPECT_EQ(vmm.WaitForExit(), kExitGuestReset) << command;
    EXPECT_EQ(vmm.output(), "up\n");
  }
}

std::string CommandLineOf(pid_t pid) {
  std::ifstream file(absl::StrCat("/proc/", pid, "/cmdline"));
  std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  std::replace(text.begin(), text.end(), '\0', ' ');
  return text;
}

size_t OpenDescriptorsOf(pid_t pid) {
  const fs::path descriptors = absl::StrCat("/proc/", pid, "/fd");
  return std::distance(fs::directory_iterator(descriptors), fs::directory_iterator());
}

TEST_F(RunTest, ResetThatStartsTheGuestAfresh) {
  constexpr int kResets = 4;
  ChildProcess vmm(Vmm({"--cpus=2", "--cmdline="}));
  std::string expected = "up\n";
  ASSERT_TRUE(vmm.WaitForOutput(expected));
  const size_t descriptors = OpenDescriptorsOf(vmm.pid());
  for (int i = 0; i < kResets; ++i) {
    vmm.Input("r");
    expected += "up\n";
    ASSERT_TRUE(vmm.WaitForOutput(expected)) << vmm.output() << vmm.errors();
  }
  EXPECT_THAT(
      CommandLineOf(vmm.pid()),
      AllOf(HasSubstr(absl::StrCat("--kernel=", directory_.string(), "/kernel ")),
            HasSubstr("--memory=67108864 "), HasSubstr("--cpus=2 "), HasSubstr("--cmdline= ")));
  EXPECT_EQ(OpenDescriptorsOf(vmm.pid()), descriptors);
  vmm.Input("o");
  EXPECT_EQ(vmm.WaitForExit(), kExitPowerOff);
  EXPECT_EQ(vmm.output(), expected);
  EXPECT_EQ(vmm.errors(), "");
}

TEST_F(RunTest, ASignalEndsItWhileItPrefaults) {
  Arguments arguments = Vmm({"--prefault"});
  *std::find(arguments.begin(), arguments.end(), "--memory=64M") = "--memory=1G";
  ChildProcess vmm(arguments);
  ASSERT_TRUE(vmm.WaitForErrors("prefault: "));  // the first of sixteen steps is done
  vmm.Signal(SIGTERM);
  EXPECT_EQ(vmm.WaitForExit(), kExitSignalBase + SIGTERM);
  EXPECT_THAT(vmm.errors(),
              AllOf(HasSubstr("vmm: ended by SIGTERM\n"), Not(HasSubstr("1024 of 1024 MiB"))));
}

TEST_F(RunTest, SignalsEndIt) {
  for (int number : {SIGTERM, SIGINT, SIGHUP}) {
    ChildProcess vmm(Vmm({"--serial=socket:console"}));
    for (int i = 0; i < 5000 && !fs::exists("console"); ++i) usleep(1000);
    ASSERT_TRUE(fs::is_socket("console")) << vmm.errors();
    vmm.Signal(number);
    EXPECT_EQ(vmm.WaitForExit(), kExitSignalBase + number);
    EXPECT_EQ(vmm.errors(), absl::StrCat("vmm: ended by SIG", sigabbrev_np(number), "\n"));
    EXPECT_FALSE(fs::exists("console"));
  }
}

TEST_F(RunTest, ASignalStillEndsItAfterAReset) {
  ChildProcess vmm(Vmm());
  ASSERT_TRUE(vmm.WaitForOutput("up\n"));
  vmm.Input("r");
  ASSERT_TRUE(vmm.WaitForOutput("up\nup\n"));
  vmm.Signal(SIGTERM);
  EXPECT_EQ(vmm.WaitForExit(), kExitSignalBase + SIGTERM);
}

// poll() fails where it is given more descriptors than the process may have.
TEST_F(RunTest, AHostThatCannotWaitForTheEndDoesNotEndTheGuest) {
  ChildProcess vmm(Vmm());
  ASSERT_TRUE(vmm.WaitForOutput("up\n"));
  struct rlimit before = {};
  ASSERT_EQ(prlimit(vmm.pid(), RLIMIT_NOFILE, nullptr, &before), 0);
  const struct rlimit one = {.rlim_cur = 1, .rlim_max = before.rlim_max};
  ASSERT_EQ(prlimit(vmm.pid(), RLIMIT_NOFILE, &one, nullptr), 0);
  vmm.Signal(SIGPWR);  // brings it out of the poll() that it is in
  usleep(300'000);
  ASSERT_EQ(prlimit(vmm.pid(), RLIMIT_NOFILE, &before, nullptr), 0);
  vmm.Input("X");
  EXPECT_TRUE(vmm.WaitForOutput("up\nX"));
  vmm.Input("o");
  EXPECT_EQ(vmm.WaitForExit(), kExitPowerOff);
}

TEST_F(RunTest, ThePowerButtonIsTheGuestsAffair) {
  ChildProcess vmm(Vmm());
  ASSERT_TRUE(vmm.WaitForOutput("up\n"));
  vmm.Signal(SIGPWR);
  vmm.Input("X");
  EXPECT_TRUE(vmm.WaitForOutput("up\nX"));
  vmm.Input("o");
  EXPECT_EQ(vmm.WaitForExit(), kExitPowerOff);
}

TEST_F(RunTest, TheEndOfInputEndsNothing) {
  ChildProcess vmm(Vmm({"--cmdline=ABC"}));
  vmm.CloseInput();
  EXPECT_TRUE(vmm.WaitForOutput("up\nABC"));
  vmm.Signal(SIGTERM);
  EXPECT_EQ(vmm.WaitForExit(), kExitSignalBase + SIGTERM);
}

TEST_F(RunTest, RunsWithoutAnyStandardDescriptor) {
  Arguments arguments = {"sh", "-c", "exec \"$@\" <&- >&- 2>&-", "sh"};
  for (const std::string& argument : Vmm({"--cmdline=XYo"})) arguments.push_back(argument);
  ChildProcess vmm(arguments);
  EXPECT_EQ(vmm.WaitForExit(), kExitPowerOff);
}

TEST_F(RunTest, ANameThatIsTaken) {
  ChildProcess first(Vmm());
  ASSERT_TRUE(first.WaitForOutput("up\n"));
  ChildProcess second(Vmm({"--serial=socket:console"}));
  EXPECT_EQ(second.WaitForExit(), kExitError);
  EXPECT_THAT(second.errors(), HasSubstr("is taken"));
  first.Input("Y");
  EXPECT_TRUE(first.WaitForOutput("up\nY"));
  first.Signal(SIGKILL);
  EXPECT_EQ(first.WaitForExit(), 1000 + SIGKILL);
  ChildProcess third(Vmm({"--cmdline=o"}));
  EXPECT_EQ(third.WaitForExit(), kExitPowerOff) << "a killed VM holds its name: " << third.errors();
}

TEST_F(RunTest, WithoutLuodItSaysSoOnceAndRuns) {
  Arguments arguments = Vmm({"--luod=/nonexistent/luod.sock"});
  arguments.erase(std::find(arguments.begin(), arguments.end(), "--luod=none"));
  ChildProcess vmm(arguments);
  ASSERT_TRUE(vmm.WaitForOutput("up\n"));
  ASSERT_TRUE(vmm.WaitForErrors("/nonexistent/luod.sock"));
  std::this_thread::sleep_for(std::chrono::milliseconds(2500));  // it tries again each second
  vmm.Input("o");
  EXPECT_EQ(vmm.WaitForExit(), kExitPowerOff);
  const std::string errors = vmm.errors();
  EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
}

// A VM that registered with the test, and is content with that.
struct RegisteredVm {
  UniqueFd connection;
  RegisterRequest registration;
};

absl::StatusOr<RegisteredVm> AcceptVm(const UniqueFd& listener) {
  constexpr int kPatienceMs = 30'000;
  pollfd readable = {listener.get(), POLLIN, 0};
  if (poll(&readable, 1, kPatienceMs) != 1) return absl::DeadlineExceededError("no VM registers");
  UniqueFd connection(accept4(listener.get(), nullptr, nullptr, SOCK_CLOEXEC));
  ASSIGN_OR_RETURN(Message request, ReceiveMessage(connection.get()));
  ASSIGN_OR_RETURN(RegisterRequest registration, RegisterRequest::FromTree(request.body));
  RETURN_IF_ERROR(SendMessage(connection.get(), OkMessage(request.request)));
  return RegisteredVm{std::move(connection), std::move(registration)};
}

TEST_F(RunTest, IsResumedByWhatAnUpgradePutInItsPlace) {
  const std::string program = directory_ / "vmm";
  const std::string socket = directory_ / "luod.sock";
  fs::copy_file(program_, program);
  absl::StatusOr<UniqueFd> luod = ListenOn(socket);
  ASSERT_TRUE(luod.ok()) << luod.status();
  Arguments arguments = Vmm();
  arguments[0] = program;
  *std::find(arguments.begin(), arguments.end(), "--luod=none") = "--luod=" + socket;
  ChildProcess vmm(arguments);
  absl::StatusOr<RegisteredVm> first = AcceptVm(*luod);
  ASSERT_TRUE(first.ok()) << first.status() << vmm.errors();
  EXPECT_EQ(first->registration.resume_argv, (Arguments{program, "resume"}));

  std::ofstream("vmm.new") << "another program";
  fs::rename("vmm.new", program);
  vmm.Input("r");
  absl::StatusOr<RegisteredVm> afresh = AcceptVm(*luod);
  ASSERT_TRUE(afresh.ok()) << afresh.status() << vmm.errors();
  EXPECT_EQ(afresh->registration.resume_argv, (Arguments{program, "resume"}));
  vmm.Input("o");
  EXPECT_EQ(vmm.WaitForExit(), kExitPowerOff);
  fs::remove(program);
  fs::remove(socket);
}

TEST_F(RunTest, MemoryIsPrefaultedBeforeTheGuestStarts) {
  ChildProcess vmm(Vmm({"--prefault", "--cmdline=o"}));
  EXPECT_EQ(vmm.WaitForExit(), kExitPowerOff);
  EXPECT_THAT(vmm.errors(), HasSubstr("64 of 64 MiB"));
}

// --- On a terminal.

class TerminalTest : public RunTest {
 protected:
  void SetUp() override {
    RunTest::SetUp();
    if (IsSkipped()) return;
    master_.Reset(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
    ASSERT_TRUE(master_.valid());
    ASSERT_EQ(grantpt(master_.get()), 0);
    ASSERT_EQ(unlockpt(master_.get()), 0);
    terminal_.Reset(open(ptsname(master_.get()), O_RDWR | O_NOCTTY | O_CLOEXEC));
    ASSERT_TRUE(terminal_.valid());
  }

  bool WaitForScreen(const std::string& text) {
    for (int i = 0; i < 10'000; ++i) {
      char bytes[256];
      const ssize_t count = read(master_.get(), bytes, sizeof(bytes));
      if (count > 0) screen_.append(bytes, count);
      if (screen_.find(text) != std::string::npos) return true;
      usleep(1000);
    }
    return false;
  }
  void Type(const std::string& keys) {
    ASSERT_EQ(write(master_.get(), keys.data(), keys.size()), static_cast<ssize_t>(keys.size()));
  }
  bool IsRaw() const {
    termios settings = {};
    tcgetattr(terminal_.get(), &settings);
    return !(settings.c_lflag & (ICANON | ECHO | ISIG));
  }

  UniqueFd master_;
  UniqueFd terminal_;
  std::string screen_;
};

TEST_F(TerminalTest, KeysReachTheGuestUntilCtrlAX) {
  ChildProcess vmm(Vmm(), terminal_.get());
  ASSERT_TRUE(WaitForScreen("up"));
  EXPECT_TRUE(IsRaw());
  Type("Q\x03");  // Ctrl-C is the guest's, which prints it
  EXPECT_TRUE(WaitForScreen("Q\x03"));
  Type("\x01x");
  EXPECT_EQ(vmm.WaitForExit(), kExitPowerOff);
  EXPECT_FALSE(IsRaw());
}

TEST_F(TerminalTest, IsRestoredWhenTheGuestEnds) {
  for (const char* commands : {"o", "t"}) {
    ChildProcess vmm(Vmm({absl::StrCat("--cmdline=", commands)}), terminal_.get());
    EXPECT_GE(vmm.WaitForExit(), 0);
    EXPECT_FALSE(IsRaw()) << commands;
  }
}

TEST_F(TerminalTest, IsRestoredWhenASignalEndsTheVmAfterAReset) {
  ChildProcess vmm(Vmm(), terminal_.get());
  ASSERT_TRUE(WaitForScreen("up"));
  Type("r");
  ASSERT_TRUE(WaitForScreen("up\r\nup"));
  EXPECT_TRUE(IsRaw());
  vmm.Signal(SIGTERM);
  EXPECT_EQ(vmm.WaitForExit(), kExitSignalBase + SIGTERM);
  EXPECT_FALSE(IsRaw());
}

}  // namespace
}  // namespace vmm
