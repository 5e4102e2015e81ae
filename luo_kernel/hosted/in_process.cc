#include "luo_kernel/hosted/in_process.h"

#include <errno.h>
#include <poll.h>
#include <sys/eventfd.h>

#include <future>
#include <thread>
#include <utility>

#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/hosted/seccomp_listener.h"

namespace luo {

absl::StatusOr<std::unique_ptr<HostedLiveUpdate>> HostedLiveUpdate::Create(
    HostedMachine::Options options) {
  std::unique_ptr<HostedLiveUpdate> luo(new HostedLiveUpdate);
  ASSIGN_OR_RETURN(luo->machine_, HostedMachine::PowerOn(std::move(options)));
  ASSIGN_OR_RETURN(luo->supervisor_,
                   Supervisor::Create(luo->machine_.get(), Supervisor::Reboots::kRefused));
  return luo;
}

absl::Status HostedLiveUpdate::Run(const std::function<void()>& body) {
  const vmm::UniqueFd ended(eventfd(0, EFD_CLOEXEC));
  if (!ended.valid()) return vmm::ErrnoStatus(errno, "eventfd");
  std::promise<int> filtered;
  std::thread thread([&] {
    const int listener = FilterThisThread();
    filtered.set_value(listener);
    if (listener >= 0) body();
    eventfd_write(ended.get(), 1);
  });
  const int fd = filtered.get_future().get();
  if (fd < 0) {
    thread.join();
    return ExplainFilterError(-fd);
  }
  absl::Status status;
  {
    SeccompListener listener((vmm::UniqueFd(fd)));
    for (;;) {
      enum { kListener, kCloses, kEnded, kCount };
      pollfd ready[kCount] = {{listener.fd(), POLLIN, 0},
                              {supervisor_->closes_fd(), POLLIN, 0},
                              {ended.get(), POLLIN, 0}};
      if (poll(ready, kCount, -1) < 0) continue;  // a signal
      if (ready[kEnded].revents != 0) break;
      if (ready[kCloses].revents != 0) supervisor_->HandleCloses();
      if (ready[kListener].revents == 0) continue;
      const absl::StatusOr<Supervisor::Request> request = supervisor_->HandleCall(listener);
      if (!request.ok()) {
        status = request.status();
        break;  // and with the listener closed, `body` gets ENOSYS and may end
      }
    }
  }
  thread.join();
  supervisor_->HandleCloses();
  return status;
}

absl::Status HostedLiveUpdate::Kexec() {
  supervisor_->HandleCloses();
  RETURN_IF_ERROR(machine_->live_update()->Reboot());
  supervisor_->CloseAll();
  return machine_->Kexec();
}

}  // namespace luo
