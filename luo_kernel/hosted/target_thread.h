// TargetThread: a thread whose system call is being answered: its memory, its descriptors, and what
// its paths mean. By its number, so that everything read has to be confirmed afterwards by
// SeccompListener::Waits().
//
//   TargetThread thread(call.thread);
//   ASSIGN_OR_RETURN(std::string path, thread.ReadString(call.arguments[1], PATH_MAX));
//   if (thread.NamesDevice(AT_FDCWD, path)) ...
//
// Needs the right to ptrace the thread (ptrace(2), PTRACE_MODE_ATTACH_REALCREDS). Errors carry
// errnos; EFAULT for memory that the thread itself could not read or write.
#ifndef LUO_KERNEL_HOSTED_TARGET_THREAD_H_
#define LUO_KERNEL_HOSTED_TARGET_THREAD_H_

#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>
#include <sys/types.h>

#include <compare>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"

namespace luo {

inline constexpr char kDevicePath[] = "/dev/liveupdate";

// Which file a descriptor is of.
struct Inode {
  dev_t device = 0;
  ino_t number = 0;
  auto operator<=>(const Inode&) const = default;
};
inline Inode InodeOf(const struct stat& status) { return {status.st_dev, status.st_ino}; }

class TargetThread {
 public:
  explicit TargetThread(pid_t thread) : thread_(thread) {}

  absl::Status Read(uint64_t address, absl::Span<uint8_t> bytes) const;
  absl::Status Write(uint64_t address, absl::Span<const uint8_t> bytes) const;
  // What is there up to a NUL; ENAMETOOLONG where none is within `limit` bytes.
  absl::StatusOr<std::string> ReadString(uint64_t address, size_t limit) const;

  // EBADF where it has no such descriptor.
  absl::StatusOr<struct stat> StatFd(int number) const;
  // The thread's open file itself.
  absl::StatusOr<vmm::UniqueFd> TakeFd(int number) const;

  // Whether `path`, relative to `directory` (a descriptor of the thread, or AT_FDCWD), is
  // /dev/liveupdate, be there such a file or not. Symbolic links to it count; with `follow` false
  // not one that `path` itself is.
  bool NamesDevice(int directory, const std::string& path, bool follow = true) const;
  // The inode behind `path`, if that is a descriptor's link in a /proc; ENOENT for others.
  absl::StatusOr<Inode> FdLink(int directory, const std::string& path) const;

 private:
  std::string Proc(const std::string& name) const;
  // `path` from the root of its process; "" where that cannot be told.
  std::string Absolute(int directory, const std::string& path) const;

  pid_t thread_;
};

// Without ".", ".." and double slashes, as if there were no symbolic links. Of an absolute path.
std::string NormalisePath(const std::string& path);

}  // namespace luo

#endif  // LUO_KERNEL_HOSTED_TARGET_THREAD_H_
