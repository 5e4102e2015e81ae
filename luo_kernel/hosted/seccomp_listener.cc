#include "luo_kernel/hosted/seccomp_listener.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/liveupdate.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <utility>

#include "base/status.h"

namespace luo {
namespace {

// System calls of i386: Linux, arch/x86/entry/syscalls/syscall_32.tbl.
constexpr uint32_t kI386Ioctl = 54;
constexpr uint32_t kI386Reboot = 88;
constexpr uint32_t kI386KexecLoad = 283;
constexpr uint32_t kX32 = 0x40000000;  // __X32_SYSCALL_BIT
constexpr uint32_t kTypeMask = _IOC_TYPEMASK << _IOC_TYPESHIFT;
constexpr uint32_t kType = LIVEUPDATE_IOCTL_TYPE << _IOC_TYPESHIFT;
constexpr uint32_t kEmptyPath = AT_EMPTY_PATH;

// The low half of an argument; ours fit, and the kernel looks at no more of an int.
constexpr uint32_t Argument(unsigned index) {
  return offsetof(seccomp_data, args) + index * sizeof(uint64_t);
}

// clang-format off
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define RETURN_IF_EQUAL(value, action) \
  BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), 0, 1), BPF_STMT(BPF_RET | BPF_K, (action))
#define NOTIFY(call) RETURN_IF_EQUAL(SYS_##call, SECCOMP_RET_USER_NOTIF)
#define DENY(error) (SECCOMP_RET_ERRNO | (error))

constexpr sock_filter kFilter[] = {
    LOAD(offsetof(seccomp_data, arch)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, AUDIT_ARCH_X86_64, 12, 0),

    // i386: LUO has no ioctls for it.
    LOAD(offsetof(seccomp_data, nr)),
    RETURN_IF_EQUAL(kI386Reboot, DENY(ENOSYS)),
    RETURN_IF_EQUAL(kI386KexecLoad, DENY(ENOSYS)),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, kI386Ioctl, 1, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    LOAD(Argument(1)),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kTypeMask),
    RETURN_IF_EQUAL(kType, DENY(ENOTTY)),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),

    // x86-64.
    LOAD(offsetof(seccomp_data, nr)),
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, kX32, 0, 1),
    BPF_STMT(BPF_RET | BPF_K, DENY(ENOSYS)),
    NOTIFY(openat), NOTIFY(open), NOTIFY(openat2), NOTIFY(creat),
    NOTIFY(stat), NOTIFY(lstat), NOTIFY(access), NOTIFY(faccessat), NOTIFY(faccessat2),
    NOTIFY(readlink), NOTIFY(readlinkat), NOTIFY(ftruncate), NOTIFY(fallocate),
    NOTIFY(reboot), NOTIFY(kexec_load), NOTIFY(kexec_file_load),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_newfstatat, 0, 3),
    LOAD(Argument(3)),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kEmptyPath, 10, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_statx, 0, 3),
    LOAD(Argument(2)),
    BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, kEmptyPath, 6, 0),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_USER_NOTIF),
    BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_ioctl, 0, 4),
    LOAD(Argument(1)),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, kTypeMask),
    RETURN_IF_EQUAL(kType, SECCOMP_RET_USER_NOTIF),
    BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
};
// clang-format on

constexpr unsigned long kFlags =
    SECCOMP_FILTER_FLAG_NEW_LISTENER | SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV;

int Filter() {
  const sock_fprog program = {.len = sizeof(kFilter) / sizeof(kFilter[0]),
                              .filter = const_cast<sock_filter*>(kFilter)};
  const long fd = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, kFlags, &program);
  return fd < 0 ? -errno : static_cast<int>(fd);
}

// As a whole, for kernels whose structures are larger than the headers'.
template <typename T>
struct Padded {
  T value = {};
  char more[256] = {};
};

}  // namespace

int FilterThisThread() {
  const int listener = Filter();
  if (listener != -EACCES) return listener;
  if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0) return -errno;
  return Filter();
}

absl::Status ExplainFilterError(int error) {
  switch (error) {
    case EBUSY:
      return vmm::ErrnoStatus(error,
                              "seccomp notifications: this process is supervised by them already "
                              "(by a container, or by another luo-emulate), and the kernel allows "
                              "that once");
    case EINVAL:
      return vmm::ErrnoStatus(
          error,
          "seccomp notifications: this kernel has none that fit; it takes Linux 5.19 or later with "
          "CONFIG_SECCOMP_FILTER");
    case ENOSYS:
      return vmm::ErrnoStatus(error,
                              "seccomp notifications: this kernel has no seccomp, or a container "
                              "forbids it");
    default:
      return vmm::ErrnoStatus(error, "seccomp notifications");
  }
}

SeccompListener::SeccompListener(vmm::UniqueFd fd) : fd_(std::move(fd)) {
  // Waker and woken take turns: on one CPU that is faster. Since Linux 6.6, else it does not
  // matter.
  ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SET_FLAGS, SECCOMP_USER_NOTIF_FD_SYNC_WAKE_UP);
}

absl::StatusOr<std::optional<SystemCall>> SeccompListener::Receive() {
  Padded<seccomp_notif> request;
  if (ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_RECV, &request) < 0) {
    if (errno == ENOENT || errno == EINTR) return std::optional<SystemCall>();
    return vmm::ErrnoStatus(errno, "receive a seccomp notification");
  }
  SystemCall call = {.id = request.value.id,
                     .thread = static_cast<pid_t>(request.value.pid),
                     .number = request.value.data.nr};
  for (int i = 0; i < 6; ++i) call.arguments[i] = request.value.data.args[i];
  return call;
}

bool SeccompListener::Waits(const SystemCall& call) const {
  uint64_t id = call.id;
  return ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ID_VALID, &id) == 0;
}

void SeccompListener::Continue(const SystemCall& call) {
  Padded<seccomp_notif_resp> response;
  response.value.id = call.id;
  response.value.flags = SECCOMP_USER_NOTIF_FLAG_CONTINUE;
  ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
}

void SeccompListener::Return(const SystemCall& call, int64_t value) {
  Padded<seccomp_notif_resp> response;
  response.value.id = call.id;
  response.value.val = value;
  ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
}

void SeccompListener::Fail(const SystemCall& call, int error) {
  Padded<seccomp_notif_resp> response;
  response.value.id = call.id;
  response.value.error = -error;
  ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_SEND, &response);
}

absl::StatusOr<int> SeccompListener::AddFd(const SystemCall& call, int file, bool close_on_exec) {
  seccomp_notif_addfd request = {};
  request.id = call.id;
  request.srcfd = static_cast<uint32_t>(file);
  request.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
  const int number = ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request);
  if (number < 0) return vmm::ErrnoStatus(errno, "hand a descriptor out");
  return number;
}

absl::Status SeccompListener::ReturnFd(const SystemCall& call, int file, bool close_on_exec) {
  seccomp_notif_addfd request = {};
  request.id = call.id;
  request.flags = SECCOMP_ADDFD_FLAG_SEND;
  request.srcfd = static_cast<uint32_t>(file);
  request.newfd_flags = close_on_exec ? O_CLOEXEC : 0;
  if (ioctl(fd_.get(), SECCOMP_IOCTL_NOTIF_ADDFD, &request) < 0) {
    return vmm::ErrnoStatus(errno, "hand a descriptor out");
  }
  return absl::OkStatus();
}

}  // namespace luo
