// Puts the test files (files.h) into a kernel's live update, and takes them out again.
//
//   live_update_files preserve     makes, preserves and holds them until it is killed
//   live_update_files retrieve     retrieves and checks them, and finishes each session
//   live_update_files leave        finishes each session and retrieves no file
//
// A second argument, `all` or `few`, says which: TestFiles(), as without it, or FewTestFiles().
//
// As a guest's /init it does what the kernel's command line says, live_update_files=COMMAND, shows
// what the kernel's log has on live update, and powers off.
//
// `preserve` prints a line "FILE FD DESCRIPTION" for each file (DescribeTestFile()), then "READY".
// The others print a line "MEMORY when MemTotal=KiB Free=KiB" before the first session, when all
// files are retrieved, and when all is finished and closed: a page that was handed over is in
// neither until the kernel has restored it, and is free when the last file is closed. Free counts
// the CPUs' own lists too. Last comes "RETRIEVED N files", "LEFT N files" or "FAIL why".
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/client/kernel_live_update.h"
#include "tests/support/live_update_files/files.h"

namespace vmm {
namespace {

using luo::KernelLiveUpdate;
using luo::LiveUpdateSession;

void Say(const std::string& line) {
  const std::string whole = line + "\n";
  if (write(STDOUT_FILENO, whole.data(), whole.size()) < 0) _exit(1);
}

absl::Status Preserve(const std::vector<TestFile>& files) {
  ASSIGN_OR_RETURN(std::unique_ptr<KernelLiveUpdate> client, KernelLiveUpdate::Open());
  std::map<std::string, LiveUpdateSession> sessions;
  std::vector<UniqueFd> held;
  for (const std::string& name : SessionsOf(files)) {
    ASSIGN_OR_RETURN(LiveUpdateSession session, client->CreateSession(name));
    sessions.emplace(name, std::move(session));
  }
  for (const TestFile& file : files) {
    ASSIGN_OR_RETURN(UniqueFd fd, MakeTestFile(file));
    RETURN_IF_ERROR(sessions.at(file.session).PreserveFd(fd.get(), file.token));
    Say(absl::StrCat("FILE ", fd.get(), " ", DescribeTestFile(file)));
    held.push_back(std::move(fd));
  }
  Say("READY");
  while (true) pause();
}

// The sum of all numbers that follow `name` in the file.
int64_t SumOf(const char* path, const std::string& name) {
  std::ifstream file(path);
  int64_t sum = 0;
  for (std::string word; file >> word;) {
    int64_t value;
    if (word == name && file >> value) sum += value;
  }
  return sum;
}

// What waits in the CPUs' own lists is free, and not counted as that by MemFree.
int64_t FreeKib() {
  return SumOf("/proc/meminfo", "MemFree:") + 4 * SumOf("/proc/zoneinfo", "count:");
}

void SayMemory(absl::string_view when) {
  std::ofstream("/proc/sys/vm/drop_caches") << "3\n";
  // Some is freed later, after RCU's grace periods and by work that is put off: until no more
  // comes.
  constexpr int kStill = 5, kLimit = 100;
  int64_t free = FreeKib();
  for (int i = 0, still = 0; i < kLimit && still < kStill; ++i, ++still) {
    usleep(100'000);
    const int64_t now = FreeKib();
    if (now > free) still = 0;
    free = std::max(free, now);
  }
  Say(absl::StrCat("MEMORY ", when, " MemTotal=", SumOf("/proc/meminfo", "MemTotal:"),
                   " Free=", free));
}

absl::Status Take(const std::vector<TestFile>& files, bool retrieve) {
  SayMemory("before");
  ASSIGN_OR_RETURN(std::unique_ptr<KernelLiveUpdate> client, KernelLiveUpdate::Open());
  SayMemory("opened");
  std::map<std::string, LiveUpdateSession> sessions;
  for (const std::string& name : SessionsOf(files)) {
    ASSIGN_OR_RETURN(LiveUpdateSession session, client->RetrieveSession(name));
    sessions.emplace(name, std::move(session));
  }
  std::vector<UniqueFd> held;
  absl::Status first_error;
  for (const TestFile& file : files) {
    if (!retrieve) break;
    absl::StatusOr<UniqueFd> fd = sessions.at(file.session).RetrieveFd(file.token);
    const absl::Status checked = fd.ok() ? CheckTestFile(file, fd->get()) : fd.status();
    if (!checked.ok()) Say(absl::StrCat("WRONG ", checked.message()));
    first_error.Update(checked);
    if (fd.ok()) held.push_back(*std::move(fd));
  }
  SayMemory("retrieved");
  for (auto& [name, session] : sessions) RETURN_IF_ERROR(session.Finish());
  held.clear();
  sessions.clear();
  client.reset();
  SayMemory("finished");
  RETURN_IF_ERROR(first_error);
  Say(absl::StrCat(retrieve ? "RETRIEVED " : "LEFT ", files.size(), " files"));
  return absl::OkStatus();
}

int Tell(const absl::Status& status) {
  if (status.ok()) return 0;
  Say(absl::StrCat("FAIL ", std::string(status.message())));
  return 1;
}

int Run(const std::string& command, const std::string& which) {
  const std::vector<TestFile> files = which == "few" ? FewTestFiles() : TestFiles();
  if (which == "all" || which == "few") {
    if (command == "preserve") return Tell(Preserve(files));
    if (command == "retrieve") return Tell(Take(files, true));
    if (command == "leave") return Tell(Take(files, false));
  }
  fprintf(stderr, "usage: live_update_files preserve|retrieve|leave [all|few]\n");
  return 2;
}

std::string CommandOfKernel() {
  constexpr absl::string_view kKey = "live_update_files=";
  std::ifstream file("/proc/cmdline");
  for (std::string word; file >> word;) {
    if (absl::StartsWith(word, kKey)) return word.substr(kKey.size());
  }
  return "";
}

// The lines of the kernel's log that tell of live update, or of something that went wrong.
void SayKernelLog() {
  const UniqueFd log(open("/dev/kmsg", O_RDONLY | O_NONBLOCK));
  char record[8192];
  while (true) {
    const ssize_t size = read(log.get(), record, sizeof(record));
    if (size < 0 && errno == EPIPE) continue;
    if (size <= 0) return;
    // "level,number,time,flags;text", then lines that begin with a space.
    std::string text(record, size);
    text = text.substr(std::min(text.find(';') + 1, text.size()));
    text = text.substr(0, text.find('\n'));
    for (const char* word :
         {"KHO", "luo", "iveupdate", "live update", "shmem:", "WARNING", "BUG"}) {
      if (!absl::StrContains(text, word)) continue;
      Say("KERNEL " + text);
      break;
    }
  }
}

int RunAsInit() {
  mkdir("/proc", 0755);
  mkdir("/dev", 0755);
  mount("proc", "/proc", "proc", 0, nullptr);
  mount("devtmpfs", "/dev", "devtmpfs", 0, nullptr);
  const int console = open("/dev/console", O_RDWR);
  for (int fd = 0; console >= 0 && fd < 3; ++fd) dup2(console, fd);
  const int code = Run(CommandOfKernel(), "all");
  SayKernelLog();
  sync();
  reboot(RB_POWER_OFF);
  return code;
}

}  // namespace
}  // namespace vmm

int main(int argc, char** argv) {
  if (getpid() == 1) return vmm::RunAsInit();
  return vmm::Run(argc > 1 ? argv[1] : "", argc > 2 ? argv[2] : "all");
}
