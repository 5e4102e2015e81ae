// Tokens and names of what a VM leaves behind in Linux's Live Update Orchestrator. The one place
// where they are written down: they are ABI between the vmm that froze a guest and the vmm that
// resumes it under the next kernel.
//
//   session.PreserveFd(region.fd(), kFirstRamToken + index);      // before the kexec
//   session.RetrieveFd(kStateToken);                              // after it
//
// A token is a number unique within its session (Linux 7.3, include/uapi/linux/liveupdate.h); a
// session's name is at most 63 bytes.
#ifndef VMM_LIVE_UPDATE_TOKENS_H_
#define VMM_LIVE_UPDATE_TOKENS_H_

#include <stddef.h>
#include <stdint.h>

#include <string>

#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"

namespace vmm {

// The state memfd: everything of the VM except its RAM.
inline constexpr uint64_t kStateToken = 0;
// RAM regions, in ascending guest-physical order.
inline constexpr uint64_t kFirstRamToken = 0x1;
inline constexpr uint64_t kLastRamToken = 0xff;
// Reserved for VFIO devices, in the order of the VM's configuration, and for the iommufd they
// share.
inline constexpr uint64_t kFirstVfioToken = 0x100;
inline constexpr uint64_t kIommufdToken = 0x200;

// luod's own session, and in it the manifest of the VMs.
inline constexpr char kManifestSession[] = "luod";
inline constexpr uint64_t kManifestToken = 0;

// The session of the VM `name` (vmm/machine/vm_name.h). The prefix keeps a VM called "luod" apart
// from luod's own.
inline std::string VmSessionName(absl::string_view name) { return absl::StrCat("vm-", name); }

}  // namespace vmm

#endif  // VMM_LIVE_UPDATE_TOKENS_H_
