// What `luoctl status` prints, for people and as JSON.
//
//   fputs(StatusText(host, vms).c_str(), stdout);
//   fputs(StatusJson(host, vms).c_str(), stdout);
//
// The JSON's fields are those of HostStatus and VmStatus, times in milliseconds with the unit in
// the name ("freeze_ms"); "last_update" is null on a kernel that no live update brought up.
#ifndef TOOLS_LUOCTL_REPORT_H_
#define TOOLS_LUOCTL_REPORT_H_

#include <string>
#include <vector>

#include "vmm/live_update/messages.h"

namespace vmm {

std::string StatusText(const HostStatus& host, const std::vector<VmStatus>& vms);
std::string StatusJson(const HostStatus& host, const std::vector<VmStatus>& vms);

}  // namespace vmm

#endif  // TOOLS_LUOCTL_REPORT_H_
