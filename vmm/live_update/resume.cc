#include "vmm/live_update/resume.h"

#include <utility>
#include <vector>

#include "base/status.h"
#include "vmm/live_update/tokens.h"
#include "vmm/machine/machine.h"
#include "vmm/state/state_memfd.h"
#include "vmm/state/state_schema.h"

namespace vmm {

absl::StatusOr<RetrievedVm> RetrieveVm(luo::LiveUpdateSession& session,
                                       const std::function<void(absl::string_view)>& skipped) {
  ASSIGN_OR_RETURN(UniqueFd state_memfd, session.RetrieveFd(kStateToken));
  ASSIGN_OR_RETURN(Tree state, ReadStateMemfd(state_memfd.get()));
  RETURN_IF_ERROR(CheckKnownNodes(state, kMachineNodes, skipped));
  ASSIGN_OR_RETURN(std::vector<GuestRange> ranges, SavedMemoryRanges(state));
  std::vector<MemfdRegion> regions;
  uint64_t token = kFirstRamToken;
  for (const GuestRange& range : ranges) {
    ASSIGN_OR_RETURN(UniqueFd memfd, session.RetrieveFd(token++));
    ASSIGN_OR_RETURN(MemfdRegion region, MemfdRegion::FromFd(range, std::move(memfd)));
    regions.push_back(std::move(region));
  }
  ASSIGN_OR_RETURN(GuestMemory memory, GuestMemory::FromRegions(std::move(regions)));
  return RetrievedVm{std::move(state_memfd), std::move(state), std::move(memory)};
}

}  // namespace vmm
