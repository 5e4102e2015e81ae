// NameLock: this process's hold on a VM's name. Two VMs of one name would fight for one LUO
// session, so the second is refused. A name is one of a kind among a user's VMs, as they are
// luod's: one luod never sees those of two users.
//
//   ASSIGN_OR_RETURN(NameLock lock, NameLock::Acquire("web1"));
//
// The lock is flock(2)'s of NAME.lock in a folder that only this user can write to, so no other can
// hold a name. The kernel frees it with the process, whatever ends that. The file stays: whoever
// removed it might remove one that another process has just opened, and a third would lock its own.
#ifndef VMM_CLI_NAME_LOCK_H_
#define VMM_CLI_NAME_LOCK_H_

#include <sys/types.h>

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace vmm {

class NameLock {
 public:
  // Makes `folder` where there is none. kAlreadyExists when a running vmm has the name;
  // kPermissionDenied when another user can write to the folder, or it is none.
  static absl::StatusOr<NameLock> Acquire(absl::string_view name,
                                          const std::string& folder = Folder());

  // Where this user's locks lie.
  static std::string Folder();
  // Where those of `user` do: /run/vmm for root, else vmm in $XDG_RUNTIME_DIR, which is
  // `runtime_folder` and may be null, else /tmp/vmm-UID.
  static std::string FolderOf(uid_t user, const char* runtime_folder);

 private:
  explicit NameLock(UniqueFd file) : file_(std::move(file)) {}

  UniqueFd file_;
};

}  // namespace vmm

#endif  // VMM_CLI_NAME_LOCK_H_
