// HostedLiveUpdate: a kernel with LUO inside one process, for tests and tools that want
// /dev/liveupdate, and kexecs, without starting programs.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<HostedLiveUpdate> luo, HostedLiveUpdate::Create());
//   RETURN_IF_ERROR(luo->Run([&] {
//     auto client = KernelLiveUpdate::Open();          // the code under test, unchanged
//     session = *(*client)->CreateSession("vm");
//   }));
//   RETURN_IF_ERROR(luo->Kexec());                     // as reboot(KEXEC)
//   RETURN_IF_ERROR(luo->Run([&] { ...retrieves... }));
//
// The descriptors of a session that is open at a kexec are dead after it; the sessions are with the
// next kernel. reboot(2) fails with EPERM for `body`.
//
// Errors of Run() are ExplainFilterError()'s, before `body` is run. Threads: one at a time.
#ifndef LUO_KERNEL_HOSTED_IN_PROCESS_H_
#define LUO_KERNEL_HOSTED_IN_PROCESS_H_

#include <functional>
#include <memory>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "luo_kernel/hosted/machine.h"
#include "luo_kernel/hosted/supervisor.h"

namespace luo {

class HostedLiveUpdate {
 public:
  static absl::StatusOr<std::unique_ptr<HostedLiveUpdate>> Create(HostedMachine::Options options);
  static absl::StatusOr<std::unique_ptr<HostedLiveUpdate>> Create() {
    return Create(HostedMachine::Options());
  }

  // Runs `body` on a thread of its own, with this kernel for it and for the threads and processes
  // that it starts. Those that it leaves behind get ENOSYS.
  absl::Status Run(const std::function<void()>& body);

  // A freeze that fails changes nothing; its errno is the one that reboot(2) would have said.
  absl::Status Kexec();

  HostedMachine& machine() { return *machine_; }

 private:
  HostedLiveUpdate() = default;

  std::unique_ptr<HostedMachine> machine_;
  std::unique_ptr<Supervisor> supervisor_;
};

}  // namespace luo

#endif  // LUO_KERNEL_HOSTED_IN_PROCESS_H_
