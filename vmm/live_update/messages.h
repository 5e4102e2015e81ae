// The bodies of the messages of protocol.h, as structs. PROTOCOL.md lists their properties.
//
//   Message message = RegisterRequest{.name = "db", .vcpus = 4}.ToMessage(request);
//   ASSIGN_OR_RETURN(RegisterRequest again, RegisterRequest::FromTree(message.body));
//
// FromTree() takes bytes from anyone: a missing or misshapen property, a name that is none, a list
// past its cap are kNotFound or kInvalidArgument naming the property. Properties it does not know
// are ignored, so that a later sender may say more. Times are in nanoseconds, TSC values as RDTSC
// gives them on the host; 0 means "not known".
#ifndef VMM_LIVE_UPDATE_MESSAGES_H_
#define VMM_LIVE_UPDATE_MESSAGES_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/tree.h"
#include "vmm/live_update/protocol.h"

namespace vmm {

// A list of strings as a device tree holds one: each with its NUL (and cut at its first). At most
// kMaxListStrings of them; a list of none is an empty property.
inline constexpr size_t kMaxListStrings = 1024;
void SetStringList(Tree& tree, absl::string_view name, const std::vector<std::string>& list);
absl::StatusOr<std::vector<std::string>> GetStringList(const Tree& tree, absl::string_view name);

// ERROR carries a Status; its text is cut at kMaxErrorText bytes.
inline constexpr size_t kMaxErrorText = 1024;
Message OkMessage(uint32_t request);
Message ErrorMessage(uint32_t request, const absl::Status& status);
// OK for OK, the Status in an ERROR, kInvalidArgument for any other type.
absl::Status StatusOfAnswer(const Message& answer);

// vmm → luod: this VM exists.
struct RegisterRequest {
  std::string name;
  uint32_t vcpus = 0;
  uint64_t memory_bytes = 0;
  uint32_t pid = 0;
  // What to run under the next kernel; luod appends "--session-fd N --luod SOCKET".
  std::vector<std::string> resume_argv = {};
  // The guest came over a kexec and runs: its session is finished.
  bool resumed = false;
  uint64_t run_tsc = 0;  // when the vCPUs of a resumed guest were let run

  Message ToMessage(uint32_t request) const;
  static absl::StatusOr<RegisterRequest> FromTree(const Tree& tree);
};

// vmm → luod, in the OK to PING.
struct PingReply {
  uint64_t missing_bytes = 0;  // of guest RAM, which PREPARE will allocate; 0 where it is not said

  Message ToMessage(uint32_t request) const;
  static absl::StatusOr<PingReply> FromTree(const Tree& tree);
};

// vmm → luod, in the OK to PREPARE.
struct PrepareReply {
  uint64_t duration_ns = 0;
  uint64_t preserved_bytes = 0;

  Message ToMessage(uint32_t request) const;
  static absl::StatusOr<PrepareReply> FromTree(const Tree& tree);
};

// vmm → luod, in the OK to FREEZE.
struct FreezeReply {
  uint64_t pause_tsc = 0;  // when the first vCPU was told to stop: the guest's blackout begins
  uint64_t duration_ns = 0;
  uint64_t state_bytes = 0;

  Message ToMessage(uint32_t request) const;
  static absl::StatusOr<FreezeReply> FromTree(const Tree& tree);
};

// luoctl → luod. Descriptors: the kernel, then the initrd if has_initrd.
struct UpgradeRequest {
  std::string command_line;
  bool has_initrd = false;
  bool check_only = false;     // CHECK alone
  bool rehearse = false;       // CHECK and PREPARE, then CANCEL
  uint32_t vm_timeout_ms = 0;  // 0: luod's own

  // `fds` in the order above.
  Message ToMessage(uint32_t request, std::vector<UniqueFd> fds) const;
  // Also refuses a message whose descriptors are not those announced.
  static absl::StatusOr<UpgradeRequest> FromMessage(const Message& message);
};

// luoctl → luod: the VM that RETRY and ABANDON are about.
struct VmNameRequest {
  std::string name;

  Message ToMessage(MessageType type, uint32_t request) const;
  static absl::StatusOr<VmNameRequest> FromTree(const Tree& tree);
};

// luod → luoctl: an upgrade goes on.
struct Progress {
  std::string phase;
  std::string text;

  Message ToMessage(uint32_t request) const;
  static absl::StatusOr<Progress> FromTree(const Tree& tree);
};

// luod → luoctl: one VM.
struct VmStatus {
  std::string name;
  std::string state;   // "running", "updating", "resuming", "failed"
  std::string detail;  // why, in words; may be empty
  uint32_t vcpus = 0;
  uint64_t memory_bytes = 0;
  uint32_t pid = 0;
  // Of the last update the VM came through.
  uint64_t prepare_ns = 0;
  uint64_t freeze_ns = 0;
  uint64_t state_bytes = 0;
  uint64_t blackout_ns = 0;  // from pause to run, over the kexec

  Message ToMessage(uint32_t request) const;
  static absl::StatusOr<VmStatus> FromTree(const Tree& tree);
};

// luod → luoctl: the host, in the OK that ends a STATUS. The durations are those of the last update
// that brought this kernel up; they follow each other without gaps.
struct HostStatus {
  std::string phase;  // "idle", "restoring", or a phase of an update in progress
  std::string kernel;
  std::string old_kernel;  // empty when no update brought this kernel up
  uint64_t generation = 0;
  uint32_t pid = 0;  // of luod
  uint64_t check_ns = 0;
  uint64_t prepare_ns = 0;
  uint64_t freeze_ns = 0;
  uint64_t kexec_ns = 0;     // reboot() to luod's start under the new kernel
  uint64_t retrieve_ns = 0;  // to the last session retrieved and its vmm started
  uint64_t resume_ns = 0;    // to the last VM running
  uint64_t blackout_ns = 0;  // first vCPU paused to last vCPU running

  Message ToMessage(uint32_t request) const;
  static absl::StatusOr<HostStatus> FromTree(const Tree& tree);
};

}  // namespace vmm

#endif  // VMM_LIVE_UPDATE_MESSAGES_H_
