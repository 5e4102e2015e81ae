// The state memfd: everything of a frozen VM that is not guest RAM, as one sealed file that
// survives the kexec inside the VM's LUO session (token 0). FORMAT.md describes the bytes.
//
//   Tree state;                                            // Before the kexec:
//   state.SetString("compatible", kMachineCompatible);
//   ASSIGN_OR_RETURN(UniqueFd fd, WriteStateMemfd(state));
//   RETURN_IF_ERROR(session.PreserveFd(fd.get(), 0));
//
//   ASSIGN_OR_RETURN(Tree state, ReadStateMemfd(fd));      // After it:
//   ...rebuild the machine...
//   RETURN_IF_ERROR(MarkConsumed(fd));                     // Then, and only then, let the vCPUs
//   run.
//
// A state describes guest RAM at one instant. Once vCPUs ran from it, RAM has moved on, and
// resuming from it again would run a guest whose registers and memory disagree. MarkConsumed()
// records that in the file, which the session keeps, so the record outlives the process that
// crashed.
//
// Functions borrow the descriptors given to them. No function keeps state; any thread may call.
#ifndef VMM_STATE_STATE_MEMFD_H_
#define VMM_STATE_STATE_MEMFD_H_

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/tree.h"
#include "base/unique_fd.h"

namespace vmm {

// A new memfd "vmm-state" that holds `state`, sealed against growing, shrinking and further seals:
// the three leave the contents writable, which MarkConsumed() needs. `state` must name the schema
// (state_schema.h) and fit kMaxTreeBytes.
absl::StatusOr<UniqueFd> WriteStateMemfd(const Tree& state);

// The state in `fd`, copied out and checked before any of it is looked at, so that whoever else
// holds the memfd cannot change it in between. kInvalidArgument: not a state, or a damaged one.
// kUnimplemented: of another version. kFailedPrecondition: a VM already ran on from it.
absl::StatusOr<Tree> ReadStateMemfd(int fd);

// To be called just before the first vCPU runs. Of several processes that try to resume from one
// state, one succeeds; the others get kFailedPrecondition and must not run the guest. Costs four
// system calls and no wait.
absl::Status MarkConsumed(int fd);

}  // namespace vmm

#endif  // VMM_STATE_STATE_MEMFD_H_
