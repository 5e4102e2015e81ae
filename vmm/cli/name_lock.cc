#include "vmm/cli/name_lock.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/machine/vm_name.h"

namespace vmm {
namespace {

// Made if it is not there. What is checked is what was opened.
absl::StatusOr<UniqueFd> OpenFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) < 0 && errno != EEXIST) return ErrnoStatus(errno, path);
  UniqueFd folder(open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder.valid() && errno != ENOTDIR && errno != ELOOP) return ErrnoStatus(errno, path);
  struct stat info = {};
  if (!folder.valid() || fstat(folder.get(), &info) < 0 || info.st_uid != geteuid() ||
      (info.st_mode & 022) != 0) {
    return absl::PermissionDeniedError(
        absl::StrCat(path, " must be a folder of this user that no other can write to"));
  }
  return folder;
}

}  // namespace

absl::StatusOr<NameLock> NameLock::Acquire(absl::string_view name, const std::string& folder) {
  RETURN_IF_ERROR(CheckVmName(name));
  const std::string locking = absl::StrCat("locking the name ", name);
  absl::StatusOr<UniqueFd> opened = OpenFolder(folder);
  if (!opened.ok()) return Annotate(opened.status(), locking);
  const std::string file_name = absl::StrCat(name, ".lock");
  UniqueFd file(
      openat(opened->get(), file_name.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!file.valid()) return ErrnoStatus(errno, absl::StrCat(locking, ": ", folder, "/", file_name));
  if (flock(file.get(), LOCK_EX | LOCK_NB) < 0) {
    if (errno == EWOULDBLOCK) {
      return absl::AlreadyExistsError(
          absl::StrCat("--name ", name, " is taken: a VM of that name runs on this host"));
    }
    return ErrnoStatus(errno, locking);
  }
  return NameLock(std::move(file));
}

std::string NameLock::Folder() { return FolderOf(geteuid(), getenv("XDG_RUNTIME_DIR")); }

std::string NameLock::FolderOf(uid_t user, const char* runtime_folder) {
  if (user == 0) return "/run/vmm";
  // A relative one is to be ignored (XDG Base Directory Specification 0.8).
  if (runtime_folder != nullptr && runtime_folder[0] == '/') {
    return absl::StrCat(runtime_folder, "/vmm");
  }
  return absl::StrCat("/tmp/vmm-", user);
}

}  // namespace vmm
