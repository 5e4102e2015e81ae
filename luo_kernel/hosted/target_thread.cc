#include "luo_kernel/hosted/target_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace luo {
namespace {

constexpr char kDeviceName[] = "liveupdate";
constexpr uint64_t kPage = 4096;
// Linux, include/linux/namei.h: MAXSYMLINKS.
constexpr int kMaxLinks = 40;
// Since Linux 6.9, include/uapi/linux/pidfd.h: a pidfd of a thread that is not its process's first.
constexpr unsigned kPidfdThread = O_EXCL;

std::optional<std::string> ReadLink(const std::string& path) {
  char link[PATH_MAX];
  const ssize_t length = readlink(path.c_str(), link, sizeof(link));
  if (length < 0 || length == sizeof(link)) return std::nullopt;
  return std::string(link, static_cast<size_t>(length));
}

absl::string_view LastName(absl::string_view path) {
  return path.substr(path.find_last_of('/') + 1);  // npos + 1 is 0
}

absl::string_view Parent(absl::string_view path) {
  const size_t slash = path.find_last_of('/');
  return slash == 0 ? "/" : path.substr(0, slash);
}

// `path` as seen from `root`; what lies outside it stays as it is.
std::string WithoutRoot(const std::string& path, const std::string& root) {
  if (root == "/" || !absl::StartsWith(path, root)) return path;
  const std::string inside = path.substr(root.size());
  if (inside.empty()) return "/";
  return inside[0] == '/' ? inside : path;
}

}  // namespace

std::string NormalisePath(const std::string& path) {
  std::vector<absl::string_view> names;
  for (absl::string_view name : absl::StrSplit(path, '/', absl::SkipEmpty())) {
    if (name == ".") continue;
    if (name != "..") {
      names.push_back(name);
    } else if (!names.empty()) {
      names.pop_back();
    }
  }
  return absl::StrCat("/", absl::StrJoin(names, "/"));
}

std::string TargetThread::Proc(const std::string& name) const {
  return absl::StrCat("/proc/", thread_, "/", name);
}

absl::Status TargetThread::Read(uint64_t address, absl::Span<uint8_t> bytes) const {
  const iovec here = {bytes.data(), bytes.size()};
  const iovec there = {reinterpret_cast<void*>(address), bytes.size()};
  const ssize_t size = process_vm_readv(thread_, &here, 1, &there, 1, 0);
  if (size < 0) return vmm::ErrnoStatus(errno, "read the program's memory");
  if (static_cast<size_t>(size) != bytes.size()) {
    return vmm::ErrnoStatus(EFAULT, "read the program's memory");
  }
  return absl::OkStatus();
}

absl::Status TargetThread::Write(uint64_t address, absl::Span<const uint8_t> bytes) const {
  const iovec here = {const_cast<uint8_t*>(bytes.data()), bytes.size()};
  const iovec there = {reinterpret_cast<void*>(address), bytes.size()};
  const ssize_t size = process_vm_writev(thread_, &here, 1, &there, 1, 0);
  if (size < 0) return vmm::ErrnoStatus(errno, "write the program's memory");
  if (static_cast<size_t>(size) != bytes.size()) {
    return vmm::ErrnoStatus(EFAULT, "write the program's memory");
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> TargetThread::ReadString(uint64_t address, size_t limit) const {
  std::string text;
  while (text.size() < limit) {
    // To the end of the page: the next one need not be there.
    uint8_t bytes[kPage];
    const size_t size =
        std::min<size_t>(kPage - (address + text.size()) % kPage, limit - text.size());
    RETURN_IF_ERROR(Read(address + text.size(), absl::MakeSpan(bytes, size)));
    const size_t length = strnlen(reinterpret_cast<const char*>(bytes), size);
    text.append(reinterpret_cast<const char*>(bytes), length);
    if (length < size) return text;
  }
  return vmm::ErrnoStatus(ENAMETOOLONG, "a string in the program's memory");
}

absl::StatusOr<struct stat> TargetThread::StatFd(int number) const {
  struct stat status;
  if (number < 0) return vmm::ErrnoStatus(EBADF, "a descriptor");
  if (stat(Proc(absl::StrCat("fd/", number)).c_str(), &status) < 0) {
    return vmm::ErrnoStatus(errno == ENOENT ? EBADF : errno, "a descriptor");
  }
  return status;
}

absl::StatusOr<vmm::UniqueFd> TargetThread::TakeFd(int number) const {
  if (number < 0) return vmm::ErrnoStatus(EBADF, "a descriptor");
  vmm::UniqueFd process(static_cast<int>(syscall(SYS_pidfd_open, thread_, 0)));
  if (!process.valid()) {
    process.Reset(static_cast<int>(syscall(SYS_pidfd_open, thread_, kPidfdThread)));
  }
  if (!process.valid()) {
    // Before Linux 6.9: by the process's first thread, whose descriptors nearly always are those of
    // all.
    vmm::UniqueFd status(open(Proc("status").c_str(), O_RDONLY | O_CLOEXEC));
    char text[4096] = {};
    if (status.valid() && read(status.get(), text, sizeof(text) - 1) > 0) {
      const char* line = strstr(text, "\nTgid:");
      int leader;
      if (line != nullptr && sscanf(line, "\nTgid: %d", &leader) == 1) {
        process.Reset(static_cast<int>(syscall(SYS_pidfd_open, leader, 0)));
      }
    }
  }
  if (!process.valid()) return vmm::ErrnoStatus(errno, "pidfd_open");
  vmm::UniqueFd file(static_cast<int>(syscall(SYS_pidfd_getfd, process.get(), number, 0)));
  if (!file.valid()) return vmm::ErrnoStatus(errno, "pidfd_getfd");
  return file;
}

std::string TargetThread::Absolute(int directory, const std::string& path) const {
  if (!path.empty() && path[0] == '/') return path;
  const std::optional<std::string> base =
      ReadLink(Proc(directory == AT_FDCWD ? "cwd" : absl::StrCat("fd/", directory)));
  const std::optional<std::string> root = ReadLink(Proc("root"));
  if (!base || !root || base->empty() || (*base)[0] != '/') return "";
  return absl::StrCat(WithoutRoot(*base, *root), "/", path);
}

bool TargetThread::NamesDevice(int directory, const std::string& path, bool follow) const {
  std::string at = Absolute(directory, path);
  for (int links = 0; links < kMaxLinks; ++links) {
    if (at.empty()) return false;
    if (NormalisePath(at) == kDevicePath) return !absl::EndsWith(at, "/");
    // The folder may be reached by another way; there need be nothing by the name in it.
    if (LastName(at) == kDeviceName) {
      vmm::UniqueFd folder(
          open(Proc(absl::StrCat("root", Parent(at))).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
      const std::optional<std::string> real =
          folder.valid() ? ReadLink(absl::StrCat("/proc/self/fd/", folder.get())) : std::nullopt;
      const std::optional<std::string> root = ReadLink(Proc("root"));
      if (real && root && WithoutRoot(*real, *root) == Parent(kDevicePath)) return true;
    }
    if (!follow) return false;
    const std::optional<std::string> link = ReadLink(Proc(absl::StrCat("root", at)));
    // Links of a /proc name files that have no path; and few links end in the device.
    if (!link || link->empty() || LastName(*link).empty()) return false;
    at = (*link)[0] == '/' ? *link : absl::StrCat(Parent(at), "/", *link);
  }
  return false;
}

absl::StatusOr<Inode> TargetThread::FdLink(int directory, const std::string& path) const {
  int number;
  if (!absl::SimpleAtoi(LastName(path), &number)) return vmm::ErrnoStatus(ENOENT, path);
  std::string at;
  if (path[0] != '/') {
    at = Proc(
        absl::StrCat(directory == AT_FDCWD ? "cwd" : absl::StrCat("fd/", directory), "/", path));
  } else {
    // "self" is whoever asks.
    absl::string_view rest = path;
    if (absl::ConsumePrefix(&rest, "/proc/self/") ||
        absl::ConsumePrefix(&rest, "/proc/thread-self/")) {
      at = Proc(std::string(rest));
    } else if (absl::ConsumePrefix(&rest, "/dev/fd/")) {
      at = Proc(absl::StrCat("fd/", rest));
    } else {
      at = path;
    }
  }
  struct stat status;
  if (stat(at.c_str(), &status) < 0) return vmm::ErrnoStatus(errno, path);
  return InodeOf(status);
}

}  // namespace luo
