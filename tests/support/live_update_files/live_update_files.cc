// Puts the test files (files.h) into a kernel's live update, and takes them out again.
//
//   live_update_files preserve     makes, preserves and holds them until it is killed
//   live_update_files retrieve     retrieves and checks them, and finishes each session
//   live_update_files init         `retrieve` as a guest's /init; powers off afterwards
//
// `preserve` prints a line "FILE FD DESCRIPTION" for each file (DescribeTestFile()), then "READY".
// `retrieve` prints the kernel's MemTotal and MemFree before the first session, when all files are
// retrieved, and when all is finished and closed: a page that was handed over is in neither until
// it is retrieved, and is free when the last file is closed. Lines begin with "MEMORY". Last comes
// "RETRIEVED N files" or "FAIL why".
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
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

absl::Status Preserve() {
  ASSIGN_OR_RETURN(std::unique_ptr<KernelLiveUpdate> client, KernelLiveUpdate::Open());
  std::map<std::string, LiveUpdateSession> sessions;
  std::vector<UniqueFd> held;
  for (const std::string& name : TestSessions()) {
    ASSIGN_OR_RETURN(LiveUpdateSession session, client->CreateSession(name));
    sessions.emplace(name, std::move(session));
  }
  for (const TestFile& file : TestFiles()) {
    ASSIGN_OR_RETURN(UniqueFd fd, MakeTestFile(file));
    RETURN_IF_ERROR(sessions.at(file.session).PreserveFd(fd.get(), file.token));
    Say(absl::StrCat("FILE ", fd.get(), " ", DescribeTestFile(file)));
    held.push_back(std::move(fd));
  }
  Say("READY");
  while (true) pause();
}

// MemTotal and MemFree, in KiB.
std::string MemoryFacts() {
  std::ifstream file("/proc/meminfo");
  std::string facts, line;
  while (std::getline(file, line)) {
    const std::string name = line.substr(0, line.find(':'));
    if (name != "MemTotal" && name != "MemFree") continue;
    const size_t digits = line.find_first_of("0123456789");
    absl::StrAppend(&facts, " ", name, "=", line.substr(digits, line.find(' ', digits) - digits));
  }
  return facts;
}

void SayMemory(absl::string_view when) {
  // What waits in the CPUs' own lists is not counted as free.
  std::ofstream("/proc/sys/vm/drop_caches") << "3\n";
  Say(absl::StrCat("MEMORY ", when, MemoryFacts()));
}

absl::Status Retrieve() {
  SayMemory("before");
  ASSIGN_OR_RETURN(std::unique_ptr<KernelLiveUpdate> client, KernelLiveUpdate::Open());
  SayMemory("opened");
  std::map<std::string, LiveUpdateSession> sessions;
  for (const std::string& name : TestSessions()) {
    ASSIGN_OR_RETURN(LiveUpdateSession session, client->RetrieveSession(name));
    sessions.emplace(name, std::move(session));
  }
  std::vector<UniqueFd> files;
  absl::Status first_error;
  for (const TestFile& file : TestFiles()) {
    absl::StatusOr<UniqueFd> fd = sessions.at(file.session).RetrieveFd(file.token);
    const absl::Status checked = fd.ok() ? CheckTestFile(file, fd->get()) : fd.status();
    if (!checked.ok()) Say(absl::StrCat("WRONG ", checked.message()));
    first_error.Update(checked);
    if (fd.ok()) files.push_back(*std::move(fd));
  }
  SayMemory("retrieved");
  for (auto& [name, session] : sessions) RETURN_IF_ERROR(session.Finish());
  const size_t count = files.size();
  files.clear();
  sessions.clear();
  client.reset();
  SayMemory("finished");
  RETURN_IF_ERROR(first_error);
  Say(absl::StrCat("RETRIEVED ", count, " files"));
  return absl::OkStatus();
}

int Tell(const absl::Status& status) {
  if (status.ok()) return 0;
  Say(absl::StrCat("FAIL ", std::string(status.message())));
  return 1;
}

int RunAsInit() {
  mkdir("/proc", 0755);
  mkdir("/dev", 0755);
  mount("proc", "/proc", "proc", 0, nullptr);
  mount("devtmpfs", "/dev", "devtmpfs", 0, nullptr);
  const int console = open("/dev/console", O_RDWR);
  for (int fd = 0; console >= 0 && fd < 3; ++fd) dup2(console, fd);
  const int code = Tell(Retrieve());
  sync();
  reboot(RB_POWER_OFF);
  return code;
}

}  // namespace
}  // namespace vmm

int main(int argc, char** argv) {
  const std::string command = argc == 2 ? argv[1] : getpid() == 1 ? "init" : "";
  if (command == "preserve") return vmm::Tell(vmm::Preserve());
  if (command == "retrieve") return vmm::Tell(vmm::Retrieve());
  if (command == "init") return vmm::RunAsInit();
  fprintf(stderr, "usage: live_update_files preserve|retrieve|init\n");
  return 2;
}
