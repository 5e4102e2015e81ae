// Retrieving a VM from its LUO session after the kexec.
//
//   luo::LiveUpdateSession session(UniqueFd(session_fd));
//   ASSIGN_OR_RETURN(RetrievedVm vm, RetrieveVm(session));
//   ASSIGN_OR_RETURN(auto machine, Machine::Restore(vm.state, std::move(vm.memory), environment));
//   RETURN_IF_ERROR(MarkConsumed(vm.state_memfd.get()));   // no second resume from here on
//   RETURN_IF_ERROR(machine->Resume());
//   RETURN_IF_ERROR(session.Finish());
//
// No page of RAM is read or copied: the memfds are mapped as they are. Until MarkConsumed() any
// failure leaves the session as it was, and another process may try again.
#ifndef VMM_LIVE_UPDATE_RESUME_H_
#define VMM_LIVE_UPDATE_RESUME_H_

#include <functional>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tree.h"
#include "base/unique_fd.h"
#include "guest_memory/guest_memory.h"
#include "luo_kernel/client/live_update_client.h"

namespace vmm {

struct RetrievedVm {
  UniqueFd state_memfd;
  Tree state;
  GuestMemory memory;
};

// `skipped` is told of each optional state node that this vmm does not know.
absl::StatusOr<RetrievedVm> RetrieveVm(luo::LiveUpdateSession& session,
                                       const std::function<void(absl::string_view)>& skipped);

}  // namespace vmm

#endif  // VMM_LIVE_UPDATE_RESUME_H_
