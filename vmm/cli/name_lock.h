// NameLock: this process's hold on a VM's name. Two VMs of one name on one host would fight for one
// LUO session, so the second is refused. The lock is an abstract AF_UNIX address, which the kernel
// frees with the process: nothing is left behind, whatever ends it.
//
//   ASSIGN_OR_RETURN(NameLock lock, NameLock::Acquire("web1"));
#ifndef VMM_CLI_NAME_LOCK_H_
#define VMM_CLI_NAME_LOCK_H_

#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace vmm {

class NameLock {
 public:
  // kAlreadyExists when a running vmm has the name.
  static absl::StatusOr<NameLock> Acquire(absl::string_view name);

 private:
  explicit NameLock(UniqueFd socket) : socket_(std::move(socket)) {}

  UniqueFd socket_;
};

}  // namespace vmm

#endif  // VMM_CLI_NAME_LOCK_H_
