// luoctl's commands, as functions of its options. Each talks to luod, prints, and returns the
// program's exit code.
//
//   return RunStatus({.socket_path = path, .json = true});
#ifndef TOOLS_LUOCTL_COMMANDS_H_
#define TOOLS_LUOCTL_COMMANDS_H_

#include <stdint.h>

#include <string>

#include "tools/luoctl/command_line.h"
#include "vmm/live_update/socket.h"

namespace vmm {

enum ExitCode {
  kDone = 0,
  kFailed = 1,  // and guests run on as before
  kUsage = 2,
  kUnreachable = 3,  // luod, or it was lost on the way
};

struct Options {
  std::string socket_path = kDefaultSocketPath;
  bool json = false;  // status
  std::string kernel;
  std::string initrd;
  CommandLineOptions command_line;
  bool dry_run = false;
  bool rehearse = false;
  uint32_t timeout_ms = 0;  // 0: luod's own
  std::string name;         // of the VM
  bool yes = false;
};

int RunStatus(const Options& options);
int RunUpgrade(const Options& options);
int RunCancel(const Options& options);
int RunRetry(const Options& options);
int RunAbandon(const Options& options);

}  // namespace vmm

#endif  // TOOLS_LUOCTL_COMMANDS_H_
