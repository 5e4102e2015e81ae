// `luoctl inspect`: shows what a kernel hands over, or would: out of a memory image, out of the
// kernel that runs, or out of a hosted instance of luo_kernel.
//
//   return RunInspect({.image = "/var/crash/vmcore", .json = true});
//
// Exit codes are luoctl's: kDone where something was shown, whatever is wrong with it; kFailed
// where nothing could be; kUsage for options that do not go together.
#ifndef TOOLS_LUOCTL_INSPECT_H_
#define TOOLS_LUOCTL_INSPECT_H_

#include <string>

namespace vmm {

struct InspectOptions {
  std::string image;     // a file of a machine's memory; empty: the running kernel
  std::string hosted;    // the socket of a hosted instance; empty: none
  std::string fdt;       // address of KHO's device tree, "0x..."; empty: it is searched for
  std::string extract;   // a folder for files' contents; empty: they are not wanted
  bool salvage = false;  // what is left of one that a kernel has read, too
  bool json = false;
  bool all = false;
};

int RunInspect(const InspectOptions& options);

}  // namespace vmm

#endif  // TOOLS_LUOCTL_INSPECT_H_
