// The vmm program given what it cannot use: each time one line on stderr that names the trouble,
// the documented exit code, and nothing left behind.
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "vmm/boot/test_images.h"
#include "vmm/boot/test_kernel.h"
#include "vmm/cli/child_process.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/name_lock.h"
#include "vmm/kvm/kvm.h"

namespace vmm {
namespace {

using ::testing::EndsWith;
using ::testing::HasSubstr;
using ::testing::StartsWith;

namespace fs = std::filesystem;
using Arguments = std::vector<std::string>;

class RefusalTest : public ::testing::Test {
 protected:
  void SetUp() override {
    const auto* test = ::testing::UnitTest::GetInstance()->current_test_info();
    directory_ = fs::path(::testing::TempDir()) / absl::StrCat(test->name(), ".", getpid());
    fs::create_directories(directory_ / "run");
    kernel_ = File("kernel", TestKernel());
  }
  void TearDown() override {
    fs::remove_all(directory_);
    fs::remove(absl::StrCat(NameLock::Folder(), "/", name_, ".lock"));
  }

  std::string Path(const std::string& name) const { return directory_ / name; }
  std::string File(const std::string& name, const std::vector<uint8_t>& bytes) const {
    std::ofstream(Path(name), std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()), bytes.size());
    return Path(name);
  }

  // A command line that would run a guest, but for `more`.
  Arguments RunWith(const Arguments& more) const {
    Arguments all = {"run", "--name=" + name_, "--luod=none"};
    const bool has_kernel = std::any_of(more.begin(), more.end(), [](const std::string& argument) {
      return absl::StartsWith(argument, "--kernel");
    });
    if (!has_kernel) all.push_back("--kernel=" + kernel_);
    all.insert(all.end(), more.begin(), more.end());
    return all;
  }

  // Runs vmm in an empty folder.
  void ExpectRefused(const Arguments& arguments, int code, const std::string& why,
                     const Arguments& wrapper = {}) {
    SCOPED_TRACE(absl::StrJoin(arguments, " "));
    Arguments all = wrapper;
    all.push_back(program_);
    all.insert(all.end(), arguments.begin(), arguments.end());
    const fs::path before = fs::current_path();
    fs::current_path(directory_ / "run");
    ChildProcess vmm(all);
    EXPECT_EQ(vmm.WaitForExit(), code);
    fs::current_path(before);
    EXPECT_EQ(vmm.output(), "");
    const std::string errors = vmm.errors();
    EXPECT_EQ(std::count(errors.begin(), errors.end(), '\n'), 1) << errors;
    EXPECT_THAT(errors, StartsWith("vmm: "));
    EXPECT_THAT(errors, EndsWith("\n"));
    EXPECT_THAT(errors, HasSubstr(why));
    EXPECT_LT(errors.size(), 400u) << errors;
    EXPECT_TRUE(fs::is_empty(directory_ / "run"));
  }
  void ExpectRunRefused(const Arguments& more, const std::string& why) {
    ExpectRefused(RunWith(more), kExitError, why);
  }
  void ExpectUsage(const Arguments& arguments, const std::string& why) {
    ExpectRefused(arguments, kExitUsage, why);
  }

  const std::string program_ = VmmProgram();
  const std::string name_ = absl::StrCat("refusal-test-", getpid());
  fs::path directory_;
  std::string kernel_;
};

TEST_F(RefusalTest, CommandLinesThatSayNothingSensible) {
  ExpectUsage({}, "run or resume");
  ExpectUsage({"frobnicate"}, "frobnicate");
  ExpectUsage({"--frobnicate"}, "--frobnicate");
  ExpectUsage({"run"}, "--kernel");
  ExpectUsage({"resume"}, "--session-fd");
  ExpectUsage({"resume", "--session-fd"}, "--session-fd wants a value");
  ExpectUsage({"resume", "--session-fd=3", "--frobnicate"}, "--frobnicate");
  ExpectUsage({"resume", "--session-fd=3", "-x"}, "-x");
  ExpectUsage({"resume", "--session-fd=3", "more"}, "more");
  ExpectUsage({"resume", "--session=3"}, "--session=3");
  ExpectUsage({"resume", "--session-fd=3", "--session-fd", "4"}, "--session-fd is given twice");
  ExpectUsage(RunWith({"--frobnicate"}), "--frobnicate");
  ExpectUsage(RunWith({"more"}), "more");
  ExpectUsage(RunWith({"--kernel=a", "--kernel=b"}), "--kernel");
  ExpectUsage(RunWith({"--memory"}), "--memory");
}

TEST_F(RefusalTest, HelpNamesEveryOption) {
  struct {
    Arguments arguments;
    std::vector<const char*> mentions;
  } kCases[] = {
      {{"--help"}, {"run", "resume", "Exit codes", "128+N"}},
      {{"run", "--help"},
       {"--kernel", "--initramfs", "--cmdline", "--cpus", "--memory", "--name", "--serial",
        "--hugepages", "--prefault", "--on-reset", "--luod"}},
      {{"resume", "--help"}, {"--session-fd", "--serial", "--luod"}},
  };
  for (const auto& help : kCases) {
    Arguments all = {program_};
    all.insert(all.end(), help.arguments.begin(), help.arguments.end());
    ChildProcess vmm(all);
    EXPECT_EQ(vmm.WaitForExit(), 0);
    EXPECT_EQ(vmm.errors(), "");
    for (const char* mention : help.mentions) EXPECT_THAT(vmm.output(), HasSubstr(mention));
  }
}

TEST_F(RefusalTest, NumbersOfVcpus) {
  for (const char* cpus : {"-1", "abc", "", "1.5", "0x", "4294967297", "18446744073709551617"}) {
    ExpectUsage(RunWith({absl::StrCat("--cpus=", cpus)}),
                absl::StrCat("--cpus: \"", cpus, "\" is no number"));
  }
  ExpectUsage(RunWith({"--cpus", "-1"}), "--cpus");
  for (const char* cpus : {"0", "257", "100000"}) {
    ExpectRunRefused({"--cpus", cpus}, absl::StrCat("--cpus ", cpus));
  }
}

TEST_F(RefusalTest, SizesOfMemory) {
  for (const char* size : {"", "M", "-1", "1Z", "12Q", "1.5G", "64MB5", "18446744073709551616",
                           "17179869184G", "0x4000000"}) {
    ExpectUsage(RunWith({absl::StrCat("--memory=", size)}),
                absl::StrCat("--memory: \"", size, "\" is no size"));
  }
  for (const char* size : {"0", "63M", "67108863", "67108865", "999999T", "17T"}) {
    ExpectRunRefused({"--memory", size}, "--memory");
  }
}

TEST_F(RefusalTest, OtherOptions) {
  ExpectUsage(RunWith({"--hugepages=maybe"}), "--hugepages: auto, on or off, not \"maybe\"");
  ExpectUsage(RunWith({"--on-reset=dance"}), "--on-reset: restart or exit, not \"dance\"");
  ExpectRunRefused({"--serial=teletype"}, "\"teletype\"");
  ExpectRunRefused({"--serial=socket:"}, "socket path");
  ExpectRunRefused({"--serial=file:/nonexistent/log"}, "/nonexistent/log: No such file");
  ExpectRunRefused({"--serial=socket:/nonexistent/socket"}, "/nonexistent/socket: No such file");
  ExpectRunRefused({absl::StrCat("--serial=file:", Path("run"))}, "Is a directory");
  for (const std::string& name : {std::string(), std::string("../web1"), std::string(".web1"),
                                  std::string("web 1"), std::string(49, 'w')}) {
    Arguments arguments = RunWith({});
    arguments[1] = "--name=" + name;
    ExpectRefused(arguments, kExitError, "name");
  }
}

TEST_F(RefusalTest, AnEmptyOptionTakesNothingFromTheNext) {
  ExpectRunRefused({"--cmdline=", "--cpus=0"}, "--cpus 0");
  ExpectRunRefused({"--cmdline", "", "--cpus=0"}, "--cpus 0");
  ExpectUsage(RunWith({"--kernel=", "--frobnicate"}), "--frobnicate");
}

TEST_F(RefusalTest, SessionsThatAreNone) {
  ExpectUsage({"resume", "--session-fd=abc"}, "--session-fd: \"abc\" is no number");
  ExpectUsage({"resume", "--session-fd=-1"}, "--session-fd");
  ExpectUsage({"resume", "--session-fd=99999999999"}, "--session-fd");
  ExpectRefused({"resume", "--session-fd=99"}, kExitError, "--session-fd 99: Bad file descriptor");
  ExpectRefused({"resume", "--session-fd=7"}, kExitError, "not a live update session",
                {"sh", "-c", "exec \"$@\" 7</dev/null", "sh"});
  // Standard input, a pipe here.
  ExpectRefused({"resume", "--session-fd=0"}, kExitError, "not a live update session");
}

// --- What a guest should boot from.

class BadImageTest : public RefusalTest {
 protected:
  void SetUp() override {
    if (absl::Status status = Kvm::Open().status(); !status.ok()) GTEST_SKIP() << status;
    RefusalTest::SetUp();
  }
  void ExpectKernelRefused(const std::string& path, const std::string& why) {
    ExpectRunRefused({"--kernel=" + path, "--memory=64M"}, why);
  }
  void ExpectElfRefused(const std::function<void(TestElf&)>& spoil, const std::string& why) {
    TestElf elf;
    spoil(elf);
    ExpectKernelRefused(File("elf", elf.Bytes()), why);
  }
};

TEST_F(BadImageTest, FilesThatAreNoKernel) {
  ExpectKernelRefused("", "--kernel is missing");
  ExpectKernelRefused("/nonexistent/kernel", "--kernel /nonexistent/kernel: No such file");
  ExpectKernelRefused(Path("run"), "not a regular file");
  ExpectKernelRefused("/dev/zero", "not a regular file");
  ExpectKernelRefused(File("empty", {}), "empty");
  ExpectKernelRefused(File("text", std::vector<uint8_t>(100'000, 'x')), "not a kernel");
  ExpectKernelRefused(program_, "no PVH entry");
  ASSERT_EQ(mkfifo(Path("fifo").c_str(), 0600), 0);
  ExpectKernelRefused(Path("fifo"), "not a regular file");
}

TEST_F(BadImageTest, DamagedBzImages) {
  const std::vector<uint8_t> whole = TestBzImage().Bytes();
  // In the header, in the setup code, in the payload.
  for (size_t size : {size_t{0x220}, size_t{0x600}, whole.size() - 1}) {
    ExpectKernelRefused(File("cut", {whole.begin(), whole.begin() + size}), "truncated");
  }
  TestBzImage huge;
  huge.header.init_size = 0xffffffff;
  ExpectKernelRefused(File("huge", huge.Bytes()), "beyond a PC's low RAM");
  TestBzImage large;
  large.header.init_size = 128 << 20;
  ExpectKernelRefused(File("large", large.Bytes()), "guest memory too small for this kernel");
}

TEST_F(BadImageTest, HostileElfFiles) {
  ExpectElfRefused([](TestElf& elf) { elf.header.e_phnum = 0xffff; }, "65535 program headers");
  ExpectElfRefused([](TestElf& elf) { elf.header.e_phoff = ~uint64_t{0}; }, "truncated");
  ExpectElfRefused([](TestElf& elf) { elf.program_headers[0].p_filesz = 65; }, "more of the file");
  ExpectElfRefused([](TestElf& elf) { elf.program_headers[0].p_offset = uint64_t{1} << 60; },
                   "beyond the file's end");
  ExpectElfRefused([](TestElf& elf) { elf.program_headers[0].p_paddr = 0; }, "outside");
  ExpectElfRefused([](TestElf& elf) { elf.program_headers[1].p_paddr = uint64_t{1} << 40; },
                   "outside");
  ExpectElfRefused([](TestElf& elf) { elf.program_headers[1].p_memsz = ~uint64_t{0}; }, "outside");
  ExpectElfRefused(
      [](TestElf& elf) {
        elf.program_headers[1].p_paddr = 60 << 20;
        elf.program_headers[1].p_memsz = 8 << 20;
      },
      "guest memory too small");
  ExpectElfRefused([](TestElf& elf) { elf.program_headers[2].p_filesz = uint64_t{1} << 40; },
                   "notes too large");
}

TEST_F(BadImageTest, InitialRamFileSystems) {
  ExpectRunRefused({"--initramfs=/nonexistent/initrd"}, "--initramfs /nonexistent/initrd: No such");
  ExpectRunRefused({"--initramfs=" + File("empty", {})}, "initrd is empty");
  ExpectRunRefused({"--initramfs=" + Path("run")}, "initrd is not a regular file");
  for (off_t size : {off_t{100} << 20, off_t{1} << 40}) {
    ASSERT_EQ(truncate(File("large", {}).c_str(), size), 0);
    ExpectRunRefused({"--initramfs=" + Path("large"), "--memory=64M"}, "initrd");
  }
}

TEST_F(BadImageTest, CommandLinesThatAreTooLong) {
  ExpectRunRefused({"--cmdline=" + std::string(2048, 'x')}, "command line of 2048 bytes");
}

// --- The host.

class NoKvmTest : public RefusalTest {
 protected:
  // Runs vmm with /dev changed by `commands`.
  void ExpectRefusedAfter(const std::string& commands, const std::string& why) {
    const Arguments wrapper = {"unshare", "-m", "--propagation=private",
                               "sh",      "-c", absl::StrCat(commands, " && exec \"$@\""),
                               "sh"};
    Arguments probe = wrapper;
    probe.push_back("true");
    if (ChildProcess(probe).WaitForExit() != 0) GTEST_SKIP() << "may not mount";
    ExpectRefused(RunWith({}), kExitError, why, wrapper);
  }
};

TEST_F(NoKvmTest, IsNotThere) {
  ExpectRefusedAfter("mount -t tmpfs tmpfs /dev", "/dev/kvm not found: load the kernel module");
}

TEST_F(NoKvmTest, IsAnotherDevice) {
  ExpectRefusedAfter("mount -t tmpfs tmpfs /dev && : > /dev/kvm", "/dev/kvm is not KVM");
}

}  // namespace
}  // namespace vmm
