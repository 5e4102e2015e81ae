#include "luo_kernel/client/fake_luo.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/liveupdate.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <future>
#include <string>
#include <thread>
#include <utility>

#include "base/status.h"

namespace luo {
namespace {

// Filters the calling thread, for good. Gives the descriptor on which its LUO ioctls arrive.
absl::StatusOr<vmm::UniqueFd> FilterThisThread() {
  constexpr uint32_t kTypeMask = _IOC_TYPEMASK << _IOC_TYPESHIFT;
  constexpr uint32_t kType = LIVEUPDATE_IOCTL_TYPE << _IOC_TYPESHIFT;
  sock_filter program[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, args[1])),
      BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kTypeMask),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kType, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
  };
  const sock_fprog filter = {.len = sizeof(program) / sizeof(program[0]), .filter = program};
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) {
    return vmm::ErrnoStatus(errno, "PR_SET_NO_NEW_PRIVS");
  }
  vmm::UniqueFd listener(static_cast<int>(
      syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_NEW_LISTENER, &filter)));
  if (!listener.valid()) return vmm::ErrnoStatus(errno, "seccomp notifications");
  return listener;
}

// What lies in the memory of the thread that waits for an answer. It is this process's own, but by
// a system call it can be looked at without a race that a sanitizer would report.
template <typename T>
bool ReadArgument(uint64_t address, T* argument) {
  const iovec here = {argument, sizeof(*argument)};
  const iovec there = {reinterpret_cast<void*>(address), sizeof(*argument)};
  return process_vm_readv(getpid(), &here, 1, &there, 1, 0) == sizeof(*argument);
}

template <typename T>
bool WriteArgument(uint64_t address, T& argument) {
  const iovec here = {&argument, sizeof(argument)};
  const iovec there = {reinterpret_cast<void*>(address), sizeof(argument)};
  return process_vm_writev(getpid(), &here, 1, &there, 1, 0) == sizeof(argument);
}

}  // namespace

absl::Status FakeLuo::Run(const std::function<void()>& body) {
  const vmm::UniqueFd ended(eventfd(0, EFD_CLOEXEC));
  std::promise<absl::StatusOr<vmm::UniqueFd>> filtered;
  std::future<absl::StatusOr<vmm::UniqueFd>> result = filtered.get_future();
  std::thread thread([&] {
    absl::StatusOr<vmm::UniqueFd> listener = FilterThisThread();
    const bool ok = listener.ok();
    filtered.set_value(std::move(listener));
    if (ok) body();
    eventfd_write(ended.get(), 1);
  });
  absl::StatusOr<vmm::UniqueFd> listener = result.get();
  if (listener.ok()) {
    enum { kListener, kEnded, kCount };
    pollfd ready[kCount] = {{listener->get(), POLLIN, 0}, {ended.get(), POLLIN, 0}};
    while (true) {
      if (poll(ready, kCount, -1) < 0) continue;  // a signal
      if (ready[kEnded].revents != 0) break;
      seccomp_notif request = {};
      if (ioctl(listener->get(), SECCOMP_IOCTL_NOTIF_RECV, &request) < 0) continue;
      seccomp_notif_resp response = {.id = request.id};
      Answer(request, response);
      ioctl(listener->get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
    }
  }
  thread.join();
  return listener.status();
}

void FakeLuo::Answer(const seccomp_notif& request, seccomp_notif_resp& response) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!IsSession(static_cast<int>(request.data.args[0]))) {
    response.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
    return;
  }
  const uint64_t argument = request.data.args[2];
  switch (request.data.args[1]) {
    case LIVEUPDATE_SESSION_PRESERVE_FD:
      response.error = -AnswerPreserve(argument);
      break;
    case LIVEUPDATE_SESSION_RETRIEVE_FD:
      response.error = -AnswerRetrieve(argument);
      break;
    case LIVEUPDATE_SESSION_FINISH:
      files_.clear();
      break;
    default:
      response.error = -ENOTTY;
  }
}

bool FakeLuo::IsSession(int fd) const {
  struct stat session, other;
  // By name: `fd` is the other thread's, which may be about to close it, for all a sanitizer knows.
  const std::string name = "/proc/self/fd/" + std::to_string(fd);
  return fstat(watch_.get(), &session) == 0 && stat(name.c_str(), &other) == 0 &&
         session.st_dev == other.st_dev && session.st_ino == other.st_ino;
}

int FakeLuo::AnswerPreserve(uint64_t argument) {
  liveupdate_session_preserve_fd request;
  if (!ReadArgument(argument, &request)) return EFAULT;
  if (const int error = errors_[request.token]) return error;
  vmm::UniqueFd copy(fcntl(request.fd, F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return errno;
  return files_.emplace(request.token, std::move(copy)).second ? 0 : EEXIST;
}

int FakeLuo::AnswerRetrieve(uint64_t argument) {
  liveupdate_session_retrieve_fd request;
  if (!ReadArgument(argument, &request)) return EFAULT;
  if (const int error = errors_[request.token]) return error;
  const auto file = files_.find(request.token);
  if (file == files_.end()) return ENOENT;
  request.fd = fcntl(file->second.get(), F_DUPFD_CLOEXEC, 0);
  if (request.fd < 0) return errno;
  return WriteArgument(argument, request) ? 0 : EFAULT;
}

vmm::UniqueFd FakeLuo::NewSession() {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) < 0) abort();
  std::lock_guard<std::mutex> lock(mutex_);
  watch_.Reset(fds[0]);
  files_.clear();
  return vmm::UniqueFd(fds[1]);
}

bool FakeLuo::session_closed() const {
  std::lock_guard<std::mutex> lock(mutex_);
  pollfd watched = {watch_.get(), 0, 0};
  return poll(&watched, 1, 0) == 1 && (watched.revents & POLLHUP);
}

int FakeLuo::File(uint64_t token) const {
  std::lock_guard<std::mutex> lock(mutex_);
  const auto file = files_.find(token);
  return file == files_.end() ? -1 : file->second.get();
}

size_t FakeLuo::file_count() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return files_.size();
}

void FakeLuo::Put(uint64_t token, vmm::UniqueFd file) {
  std::lock_guard<std::mutex> lock(mutex_);
  files_[token] = std::move(file);
}

vmm::UniqueFd FakeLuo::Take(uint64_t token) {
  std::lock_guard<std::mutex> lock(mutex_);
  vmm::UniqueFd file = std::move(files_[token]);
  files_.erase(token);
  return file;
}

void FakeLuo::Fail(uint64_t token, int error) {
  std::lock_guard<std::mutex> lock(mutex_);
  errors_[token] = error;
}

}  // namespace luo
