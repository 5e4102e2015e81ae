// Whether a kernel booted with some command line will take over what this one hands over: one that
// is told nothing drops every session, and all guests with them.
//
//   RETURN_IF_ERROR(CheckNextCommandLine("root=/dev/sda1 liveupdate=on kho=on", running));
#ifndef TOOLS_LUOD_NEXT_COMMAND_LINE_H_
#define TOOLS_LUOD_NEXT_COMMAND_LINE_H_

#include "absl/status/status.h"
#include "absl/strings/string_view.h"

namespace vmm {

// kFailedPrecondition unless `next` switches LUO on (`liveupdate=`, off by default: Linux 7.3,
// kernel/liveupdate/luo_core.c) and KHO not off (`kho=`, whose default is the kernel's own
// CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT: where the running kernel, with `running`, was told, the
// next one has to be, too). Words are read as the kernel does (kstrtobool()), up to `--`.
absl::Status CheckNextCommandLine(absl::string_view next, absl::string_view running);

}  // namespace vmm

#endif  // TOOLS_LUOD_NEXT_COMMAND_LINE_H_
