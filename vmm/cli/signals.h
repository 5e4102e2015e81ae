// The signals that end a VM or press its power button, taken as a descriptor instead of by
// handlers.
//
//   ASSIGN_OR_RETURN(UniqueFd signals, BlockSignals());   // before any thread starts
//   poll({signals.get(), POLLIN});
//   int signal = ReadSignal(signals.get());
#ifndef VMM_CLI_SIGNALS_H_
#define VMM_CLI_SIGNALS_H_

#include "absl/status/statusor.h"
#include "base/unique_fd.h"

namespace vmm {

// SIGTERM, SIGINT and SIGHUP (end), SIGPWR (power button; pressed while the VM is frozen, it waits
// in the device for the update to be called off, and is lost with the kexec otherwise). Blocks them
// in this thread and those it starts later; ignores SIGPIPE, which a console's reader could cause.
absl::StatusOr<UniqueFd> BlockSignals();

// The next pending one; 0 when there is none.
int ReadSignal(int signals);

// A pending one that ends the VM, left pending; 0 when there is none.
int PendingEndSignal();

}  // namespace vmm

#endif  // VMM_CLI_SIGNALS_H_
