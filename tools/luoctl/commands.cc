#include "tools/luoctl/commands.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <time.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "tools/luoctl/luod_client.h"
#include "tools/luoctl/report.h"
#include "vmm/live_update/messages.h"
#include "vmm/machine/vm_name.h"

namespace vmm {
namespace {

int Fail(ExitCode code, const absl::Status& status) {
  fprintf(stderr, "luoctl: %s\n", std::string(status.message()).c_str());
  return code;
}

absl::StatusOr<UniqueFd> OpenImage(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, path);
  return fd;
}

std::string RunningCommandLine() {
  std::ifstream file("/proc/cmdline");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

absl::Status PrintProgress(const Message& message) {
  ASSIGN_OR_RETURN(Progress progress, Progress::FromTree(message.body));
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  tm local;
  localtime_r(&now.tv_sec, &local);
  printf("%02d:%02d:%02d.%03ld %-8s %s\n", local.tm_hour, local.tm_min, local.tm_sec,
         now.tv_nsec / 1'000'000, progress.phase.c_str(), progress.text.c_str());
  fflush(stdout);
  return absl::OkStatus();
}

absl::StatusOr<Message> UpgradeMessage(const Options& options) {
  ASSIGN_OR_RETURN(std::string command_line,
                   ComposeCommandLine(options.command_line, RunningCommandLine()));
  std::vector<UniqueFd> fds(1);
  ASSIGN_OR_RETURN(fds[0], OpenImage(options.kernel));
  if (!options.initrd.empty()) {
    ASSIGN_OR_RETURN(UniqueFd initrd, OpenImage(options.initrd));
    fds.push_back(std::move(initrd));
  }
  return UpgradeRequest{.command_line = command_line,
                        .has_initrd = !options.initrd.empty(),
                        .check_only = options.dry_run,
                        .rehearse = options.rehearse,
                        .vm_timeout_ms = options.timeout_ms}
      .ToMessage(0, std::move(fds));
}

// Sends `request`; what comes before the answer goes to `on_part`, the answer's body to
// `on_answer`.
int Converse(const Options& options, Message request,
             const std::function<absl::Status(const Message&)>& on_part,
             const std::function<absl::Status(const Message&)>& on_answer) {
  absl::StatusOr<LuodClient> luod = LuodClient::Connect(options.socket_path);
  if (!luod.ok()) return Fail(kUnreachable, luod.status());
  absl::StatusOr<Message> answer = luod->Ask(std::move(request), on_part);
  if (!answer.ok()) return Fail(luod->lost() ? kUnreachable : kFailed, answer.status());
  absl::Status status = on_answer(*answer);
  return status.ok() ? kDone : Fail(kFailed, status);
}

absl::Status Unexpected(const Message& message) {
  return absl::InternalError(absl::StrCat("luod sent ", MessageTypeName(message.type)));
}
absl::Status Nothing(const Message&) { return absl::OkStatus(); }

int AskAboutVm(const Options& options, MessageType type) {
  absl::Status valid = CheckVmName(options.name);
  if (!valid.ok()) return Fail(kUsage, valid);
  return Converse(options, VmNameRequest{.name = options.name}.ToMessage(type, 0), Unexpected,
                  Nothing);
}

}  // namespace

int RunStatus(const Options& options) {
  std::vector<VmStatus> vms;
  auto take_vm = [&vms](const Message& message) {
    absl::StatusOr<VmStatus> vm = VmStatus::FromTree(message.body);
    if (vm.ok()) vms.push_back(*std::move(vm));
    return vm.status();
  };
  auto print = [&options, &vms](const Message& message) {
    absl::StatusOr<HostStatus> host = HostStatus::FromTree(message.body);
    if (!host.ok()) return host.status();
    fputs((options.json ? StatusJson : StatusText)(*host, vms).c_str(), stdout);
    return absl::OkStatus();
  };
  return Converse(options, Message{.type = MessageType::kStatus}, take_vm, print);
}

int RunUpgrade(const Options& options) {
  absl::StatusOr<Message> request = UpgradeMessage(options);
  if (!request.ok()) return Fail(kUsage, request.status());
  return Converse(options, *std::move(request), PrintProgress, [](const Message&) {
    puts("the check passed, nothing was changed");
    return absl::OkStatus();
  });
}

int RunCancel(const Options& options) {
  return Converse(options, Message{.type = MessageType::kCancelUpgrade}, Unexpected, Nothing);
}

int RunRetry(const Options& options) { return AskAboutVm(options, MessageType::kRetry); }

int RunAbandon(const Options& options) {
  if (!options.yes) {
    return Fail(kUsage, absl::InvalidArgumentError(
                            absl::StrCat("this frees the memory of VM ", options.name,
                                         " for good: say --yes if that is meant")));
  }
  return AskAboutVm(options, MessageType::kAbandon);
}

}  // namespace vmm
