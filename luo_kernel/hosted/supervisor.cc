#include "luo_kernel/hosted/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/kexec.h>
#include <linux/openat2.h>
#include <linux/reboot.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <set>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace luo {
namespace {

// As a misc device looks that devtmpfs made: Linux, include/linux/miscdevice.h (the minor is
// dynamic there) and drivers/char/misc.c.
constexpr unsigned kMiscMajor = 10;
constexpr unsigned kDeviceMinor = 258;
constexpr mode_t kDeviceMode = S_IFCHR | 0600;
// Linux, arch/x86/include/asm/setup.h: COMMAND_LINE_SIZE, which the kernel image repeats.
constexpr uint64_t kMaxKernelCommandLine = 2048;
constexpr uint64_t kKnownKexecFlags = KEXEC_FILE_UNLOAD | KEXEC_FILE_ON_CRASH |
                                      KEXEC_FILE_NO_INITRAMFS | KEXEC_FILE_DEBUG |
                                      KEXEC_FILE_NO_CMA | KEXEC_FILE_FORCE_DTB;

time_t NowSeconds() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec;
}

}  // namespace

// One thing that programs have open.
struct Supervisor::OpenFile {
  uint64_t number = 0;
  // The pipe's end for reading, which hangs up when the last writer is gone.
  vmm::UniqueFd watch;
  // One of the two.
  std::unique_ptr<DeviceFile> device;
  std::unique_ptr<SessionFile> session;
  // What was preserved in this session.
  std::set<Inode> preserved;

  // As in Linux, luo_session_getfile(), and as a device's path.
  std::string Link() const {
    return session ? absl::StrCat("anon_inode:[luo_session] ", session->session().name())
                   : kDevicePath;
  }
};

struct Supervisor::Call {
  SeccompListener& listener;
  const SystemCall& system_call;
  TargetThread thread;

  uint64_t argument(int index) const { return system_call.arguments[index]; }
  int int_argument(int index) const { return static_cast<int>(system_call.arguments[index]); }
  void Continue() const { listener.Continue(system_call); }
  void Return(int64_t value) const { listener.Return(system_call, value); }
  // Returns `error`, an errno; 0 makes the call return 0.
  void Finish(int error) const {
    if (error == 0) {
      Return(0);
    } else {
      listener.Fail(system_call, error);
    }
  }
};

// What an ioctl may do with the caller's descriptors.
class Supervisor::CallersFds : public FdPasser {
 public:
  // [address, address + bytes.size()) is where the answer will be written, `bytes` what is there.
  CallersFds(Supervisor* supervisor, const Call& call, uint64_t address,
             absl::Span<const uint8_t> bytes)
      : supervisor_(supervisor),
        call_(call),
        address_(address),
        bytes_(bytes.begin(), bytes.end()) {}

  absl::StatusOr<vmm::UniqueFd> Take(int number) override {
    ASSIGN_OR_RETURN(vmm::UniqueFd file, call_.thread.TakeFd(number));
    struct stat status;
    if (fstat(file.get(), &status) < 0) return vmm::ErrnoStatus(errno, "fstat");
    taken_ = InodeOf(status);
    return file;
  }

  absl::StatusOr<int> Install(vmm::UniqueFd file) override {
    RETURN_IF_ERROR(CheckAnswerable());
    return call_.listener.AddFd(call_.system_call, file.get(), /*close_on_exec=*/true);
  }

  absl::StatusOr<int> Install(std::unique_ptr<SessionFile> session) override {
    RETURN_IF_ERROR(CheckAnswerable());
    vmm::UniqueFd theirs;
    ASSIGN_OR_RETURN(OpenFile * file, supervisor_->NewFile(&theirs));
    file->session = std::move(session);
    const Inode inode = supervisor_->by_number_[file->number];
    absl::StatusOr<int> number =
        call_.listener.AddFd(call_.system_call, theirs.get(), /*close_on_exec=*/true);
    if (!number.ok()) supervisor_->Close(inode);
    return number;
  }

  // What Take() gave.
  const std::optional<Inode>& taken() const { return taken_; }

 private:
  // A descriptor handed out cannot be taken back, so it must be known before that its number can be
  // told.
  absl::Status CheckAnswerable() {
    RETURN_IF_ERROR(call_.thread.Write(address_, bytes_));
    if (!call_.listener.Waits(call_.system_call)) return vmm::ErrnoStatus(EINTR, "the caller died");
    return absl::OkStatus();
  }

  Supervisor* const supervisor_;
  const Call& call_;
  const uint64_t address_;
  const std::vector<uint8_t> bytes_;
  std::optional<Inode> taken_;
};

absl::StatusOr<std::unique_ptr<Supervisor>> Supervisor::Create(HostedMachine* machine,
                                                               Reboots reboots) {
  std::unique_ptr<Supervisor> supervisor(new Supervisor(machine, reboots));
  supervisor->closes_.Reset(epoll_create1(EPOLL_CLOEXEC));
  if (!supervisor->closes_.valid()) return vmm::ErrnoStatus(errno, "epoll_create1");
  return supervisor;
}

Supervisor::Supervisor(HostedMachine* machine, Reboots reboots)
    : machine_(machine), reboots_(reboots) {}

Supervisor::~Supervisor() = default;

absl::StatusOr<Supervisor::OpenFile*> Supervisor::NewFile(vmm::UniqueFd* theirs) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC | O_NONBLOCK) < 0) return vmm::ErrnoStatus(errno, "pipe2");
  auto file = std::make_unique<OpenFile>();
  file->watch.Reset(fds[0]);
  vmm::UniqueFd writer(fds[1]);
  // Like the kernel's files it is open for reading and writing; and it never blocks, as those never
  // do.
  theirs->Reset(
      open(absl::StrCat("/proc/self/fd/", fds[0]).c_str(), O_RDWR | O_CLOEXEC | O_NONBLOCK));
  if (!theirs->valid()) return vmm::ErrnoStatus(errno, "open a pipe again");
  struct stat status;
  if (fstat(fds[0], &status) < 0) return vmm::ErrnoStatus(errno, "fstat");
  file->number = next_number_++;
  epoll_event event = {};
  event.data.u64 = file->number;  // of no events but EPOLLHUP, which always comes
  if (epoll_ctl(closes_.get(), EPOLL_CTL_ADD, fds[0], &event) < 0) {
    return vmm::ErrnoStatus(errno, "epoll_ctl");
  }
  by_number_[file->number] = InodeOf(status);
  OpenFile* result = file.get();
  files_[InodeOf(status)] = std::move(file);
  return result;
}

void Supervisor::Close(const Inode& inode) {
  const auto found = files_.find(inode);
  if (found == files_.end()) return;
  // Out of the tables first: the release of a session may take its time, but nobody sees it.
  std::unique_ptr<OpenFile> file = std::move(found->second);
  files_.erase(found);
  by_number_.erase(file->number);
  for (const Inode& preserved : file->preserved) {
    const auto count = frozen_.find(preserved);
    if (count != frozen_.end() && --count->second == 0) frozen_.erase(count);
  }
}

void Supervisor::HandleCloses() {
  std::array<epoll_event, 64> events;
  int count;
  do {
    count = epoll_wait(closes_.get(), events.data(), events.size(), 0);
    for (int i = 0; i < count; ++i) {
      const uint64_t number = events[i].data.u64;  // a copy: the structure is packed
      const auto closed = by_number_.find(number);
      if (closed != by_number_.end()) Close(Inode(closed->second));
    }
  } while (count == static_cast<int>(events.size()));
}

void Supervisor::CloseAll() {
  while (!files_.empty()) Close(Inode(files_.begin()->first));
  kexec_image_ = false;
  kexec_command_line_.clear();
}

absl::StatusOr<Supervisor::Request> Supervisor::HandleCall(SeccompListener& listener) {
  ASSIGN_OR_RETURN(std::optional<SystemCall> system_call, listener.Receive());
  if (!system_call) return Request::kNone;
  HandleCloses();
  return Answer({listener, *system_call, TargetThread(system_call->thread)});
}

Supervisor::Request Supervisor::Answer(const Call& call) {
  switch (call.system_call.number) {
    case SYS_open:
    case SYS_openat:
    case SYS_openat2:
    case SYS_creat:
      AnswerOpen(call);
      break;
    case SYS_ioctl:
      AnswerIoctl(call);
      break;
    case SYS_ftruncate:
    case SYS_fallocate:
      AnswerResize(call);
      break;
    case SYS_readlink:
    case SYS_readlinkat:
      AnswerReadLink(call);
      break;
    case SYS_kexec_file_load:
      AnswerKexecFileLoad(call);
      break;
    case SYS_kexec_load:
      // What it loads gets no handover: Linux hands over to what kexec_file_load() loads only.
      call.Finish(ENOSYS);
      break;
    case SYS_reboot:
      return AnswerReboot(call);
    default:
      AnswerStat(call);
  }
  return Request::kNone;
}

void Supervisor::AnswerOpen(const Call& call) {
  int directory = AT_FDCWD;
  int path_at = 0;
  uint64_t flags = 0;
  open_how how = {};
  switch (call.system_call.number) {
    case SYS_open:
      flags = call.argument(1);
      break;
    case SYS_creat:
      flags = O_CREAT | O_WRONLY | O_TRUNC;
      break;
    case SYS_openat:
      directory = call.int_argument(0);
      path_at = 1;
      flags = call.argument(2);
      break;
    default:
      directory = call.int_argument(0);
      path_at = 1;
      if (call.argument(3) < sizeof(how) ||
          !call.thread
               .Read(call.argument(2),
                     absl::MakeSpan(reinterpret_cast<uint8_t*>(&how), sizeof(how)))
               .ok()) {
        return call.Continue();
      }
      flags = how.flags;
  }
  const absl::StatusOr<std::string> path = call.thread.ReadString(call.argument(path_at), PATH_MAX);
  // What cannot be read here is the kernel's to complain about.
  if (!path.ok() || path->empty() || (flags & O_PATH)) return call.Continue();
  if (!call.thread.NamesDevice(directory, *path, !(flags & O_NOFOLLOW))) {
    // By the link of a descriptor: the pipe behind it must not be opened once more.
    const absl::StatusOr<Inode> inode = call.thread.FdLink(directory, *path);
    const auto file = inode.ok() ? files_.find(*inode) : files_.end();
    if (file == files_.end() || !call.listener.Waits(call.system_call)) return call.Continue();
    return call.Finish(file->second->device ? EBUSY : ENXIO);
  }
  if (!call.listener.Waits(call.system_call)) return call.Continue();
  if (const int error = OpenDevice(call, flags)) call.Finish(error);
}

int Supervisor::OpenDevice(const Call& call, uint64_t flags) {
  if ((flags & O_CREAT) && (flags & O_EXCL)) return EEXIST;
  if (flags & O_DIRECTORY) return ENOTDIR;
  absl::StatusOr<std::unique_ptr<DeviceFile>> device = DeviceFile::Open(machine_->live_update());
  if (!device.ok()) return IoctlErrno(device.status());
  vmm::UniqueFd theirs;
  absl::StatusOr<OpenFile*> file = NewFile(&theirs);
  if (!file.ok()) return ENFILE;
  (*file)->device = *std::move(device);
  const Inode inode = by_number_[(*file)->number];
  const absl::Status sent =
      call.listener.ReturnFd(call.system_call, theirs.get(), (flags & O_CLOEXEC) != 0);
  if (sent.ok()) return 0;
  Close(inode);
  return IoctlErrno(sent);
}

void Supervisor::AnswerStat(const Call& call) {
  const int number = call.system_call.number;
  const bool at = number != SYS_stat && number != SYS_lstat && number != SYS_access;
  const int directory = at ? call.int_argument(0) : AT_FDCWD;
  int flags = 0;
  if (number == SYS_newfstatat || number == SYS_faccessat2) flags = call.int_argument(3);
  if (number == SYS_statx) flags = call.int_argument(2);
  const bool follow = number != SYS_lstat && !(flags & AT_SYMLINK_NOFOLLOW);
  const absl::StatusOr<std::string> path =
      call.thread.ReadString(call.argument(at ? 1 : 0), PATH_MAX);
  if (!path.ok() || path->empty() || !call.thread.NamesDevice(directory, *path, follow) ||
      !call.listener.Waits(call.system_call)) {
    return call.Continue();
  }
  if (number == SYS_access || number == SYS_faccessat || number == SYS_faccessat2) {
    const int mode = call.int_argument(at ? 2 : 1);
    return call.Finish((mode & ~(R_OK | W_OK | X_OK)) ? EINVAL : (mode & X_OK) ? EACCES : 0);
  }
  struct stat status = {};
  struct statx more = {};
  absl::Span<const uint8_t> bytes;
  if (number == SYS_statx) {
    more.stx_mask = STATX_BASIC_STATS & ~STATX_BLOCKS;
    more.stx_blksize = 4096;
    more.stx_nlink = 1;
    more.stx_mode = kDeviceMode;
    more.stx_ino = kDeviceMinor;
    more.stx_rdev_major = kMiscMajor;
    more.stx_rdev_minor = kDeviceMinor;
    more.stx_atime.tv_sec = more.stx_mtime.tv_sec = more.stx_ctime.tv_sec = NowSeconds();
    bytes = absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&more), sizeof(more));
  } else {
    // The C library's structure is the kernel's on x86-64.
    status.st_ino = kDeviceMinor;
    status.st_nlink = 1;
    status.st_mode = kDeviceMode;
    status.st_rdev = makedev(kMiscMajor, kDeviceMinor);
    status.st_blksize = 4096;
    status.st_atim.tv_sec = status.st_mtim.tv_sec = status.st_ctim.tv_sec = NowSeconds();
    bytes = absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&status), sizeof(status));
  }
  const int buffer = number == SYS_statx ? 4 : at ? 2 : 1;
  call.Finish(IoctlErrno(call.thread.Write(call.argument(buffer), bytes)));
}

void Supervisor::AnswerReadLink(const Call& call) {
  const bool at = call.system_call.number == SYS_readlinkat;
  const absl::StatusOr<std::string> path =
      call.thread.ReadString(call.argument(at ? 1 : 0), PATH_MAX);
  if (!path.ok() || path->empty()) return call.Continue();
  const absl::StatusOr<Inode> inode =
      call.thread.FdLink(at ? call.int_argument(0) : AT_FDCWD, *path);
  const auto file = inode.ok() ? files_.find(*inode) : files_.end();
  if (file == files_.end() || !call.listener.Waits(call.system_call)) return call.Continue();
  const std::string link = file->second->Link();
  const int size = call.int_argument(at ? 3 : 2);
  if (size <= 0) return call.Finish(EINVAL);
  const size_t length = std::min(link.size(), static_cast<size_t>(size));
  const absl::Status written =
      call.thread.Write(call.argument(at ? 2 : 1),
                        absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(link.data()), length));
  if (!written.ok()) return call.Finish(IoctlErrno(written));
  call.Return(static_cast<int64_t>(length));
}

void Supervisor::AnswerIoctl(const Call& call) {
  const absl::StatusOr<struct stat> status = call.thread.StatFd(call.int_argument(0));
  const auto found = status.ok() ? files_.find(InodeOf(*status)) : files_.end();
  if (found == files_.end()) return call.Continue();
  OpenFile& file = *found->second;
  const uint32_t command = static_cast<uint32_t>(call.argument(1));
  const uint64_t address = call.argument(2);

  uint32_t size = 0;
  std::vector<uint8_t> bytes;
  if (call.thread.Read(address, absl::MakeSpan(reinterpret_cast<uint8_t*>(&size), sizeof(size)))
          .ok()) {
    bytes.resize(IoctlBytes(size));
    if (!call.thread.Read(address, absl::MakeSpan(bytes)).ok()) {
      // As much as is surely there; the size in it says that more should be.
      bytes.resize(sizeof(size));
      memcpy(bytes.data(), &size, sizeof(size));
    }
    // What was checked must be what is used: the size may have been changed in between.
    if (memcmp(bytes.data(), &size, sizeof(size)) != 0) memcpy(bytes.data(), &size, sizeof(size));
  }
  // It may be another's memory and table by now.
  if (!call.listener.Waits(call.system_call)) return;

  CallersFds fds(this, call, address, bytes);
  const int error = file.device ? file.device->Ioctl(command, absl::MakeSpan(bytes), fds)
                                : file.session->Ioctl(command, absl::MakeSpan(bytes), fds);
  if (error != 0) return call.Finish(error);
  if (fds.taken() && file.preserved.insert(*fds.taken()).second) ++frozen_[*fds.taken()];
  call.Finish(IoctlErrno(call.thread.Write(address, bytes)));
}

void Supervisor::AnswerResize(const Call& call) {
  if (frozen_.empty()) return call.Continue();
  const absl::StatusOr<struct stat> status = call.thread.StatFd(call.int_argument(0));
  if (!status.ok() || !frozen_.contains(InodeOf(*status))) return call.Continue();
  // Linux, mm/shmem.c: what SHMEM_F_MAPPING_FROZEN forbids.
  if (call.system_call.number == SYS_ftruncate &&
      status->st_size == static_cast<off_t>(call.argument(1))) {
    return call.Continue();
  }
  call.Finish(EPERM);
}

void Supervisor::AnswerKexecFileLoad(const Call& call) {
  const uint64_t flags = call.argument(4);
  if (flags & ~kKnownKexecFlags) return call.Finish(EINVAL);
  if (flags & KEXEC_FILE_UNLOAD) {
    if (!(flags & KEXEC_FILE_ON_CRASH)) kexec_image_ = false;
    return call.Finish(0);
  }
  // Linux, fs/kernel_read_file.c, kernel/kexec_file.c: in their order.
  const auto check_file = [&](int number) {
    const absl::StatusOr<struct stat> file = call.thread.StatFd(number);
    if (!file.ok()) return IoctlErrno(file.status());
    return S_ISREG(file->st_mode) && file->st_size > 0 ? 0 : EINVAL;
  };
  if (const int error = check_file(call.int_argument(0))) return call.Finish(error);
  if (!(flags & KEXEC_FILE_NO_INITRAMFS)) {
    if (const int error = check_file(call.int_argument(1))) return call.Finish(error);
  }
  const uint64_t length = call.argument(2);
  std::string command_line;
  if (length != 0) {
    if (length > kMaxKernelCommandLine) return call.Finish(EINVAL);
    command_line.resize(length);
    const absl::Status read = call.thread.Read(
        call.argument(3), absl::MakeSpan(reinterpret_cast<uint8_t*>(command_line.data()), length));
    if (!read.ok()) return call.Finish(IoctlErrno(read));
    if (command_line.back() != '\0') return call.Finish(EINVAL);
    command_line.resize(strlen(command_line.c_str()));
  }
  if (!call.listener.Waits(call.system_call)) return;
  if (!(flags & KEXEC_FILE_ON_CRASH)) {
    kexec_image_ = true;
    kexec_command_line_ = std::move(command_line);
  }
  call.Finish(0);
}

Supervisor::Request Supervisor::AnswerReboot(const Call& call) {
  const auto finish = [&call](int error) {
    call.Finish(error);
    return Request::kNone;
  };
  // Linux, kernel/reboot.c.
  if (reboots_ == Reboots::kRefused) return finish(EPERM);
  const uint32_t magic = static_cast<uint32_t>(call.argument(1));
  if (static_cast<uint32_t>(call.argument(0)) != LINUX_REBOOT_MAGIC1 ||
      (magic != LINUX_REBOOT_MAGIC2 && magic != LINUX_REBOOT_MAGIC2A &&
       magic != LINUX_REBOOT_MAGIC2B && magic != LINUX_REBOOT_MAGIC2C)) {
    return finish(EINVAL);
  }
  switch (static_cast<uint32_t>(call.argument(2))) {
    case LINUX_REBOOT_CMD_CAD_ON:
    case LINUX_REBOOT_CMD_CAD_OFF:
      return finish(0);
    case LINUX_REBOOT_CMD_RESTART:
    case LINUX_REBOOT_CMD_RESTART2:
      return Request::kRestart;
    case LINUX_REBOOT_CMD_HALT:
    case LINUX_REBOOT_CMD_POWER_OFF:
      return Request::kPowerOff;
    case LINUX_REBOOT_CMD_KEXEC: {
      if (!kexec_image_) return finish(EINVAL);
      const absl::Status frozen = machine_->live_update()->Reboot();
      if (!frozen.ok()) return finish(IoctlErrno(frozen));
      // A program that was killed meanwhile does not reboot.
      if (!call.listener.Waits(call.system_call)) {
        machine_->live_update()->CancelReboot();
        return Request::kNone;
      }
      return Request::kKexec;
    }
    default:
      return finish(EINVAL);
  }
}

}  // namespace luo
