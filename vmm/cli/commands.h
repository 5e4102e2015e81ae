// What `vmm`'s subcommands do once their command line is read. Each returns the process's exit code
// (exit_codes.h), after one line on stderr when something was refused.
#ifndef VMM_CLI_COMMANDS_H_
#define VMM_CLI_COMMANDS_H_

#include <string>

#include "vmm/machine/config.h"

namespace vmm {

// `vmm run`. Paths in `config` may be relative to the working directory.
int Run(MachineConfig config);

struct ResumeOptions {
  int session_fd = -1;
  std::string serial;       // empty: what the VM had
  std::string luod_socket;  // empty: none
};

// `vmm resume`. Takes the session's descriptor over.
int Resume(const ResumeOptions& options);

}  // namespace vmm

#endif  // VMM_CLI_COMMANDS_H_
