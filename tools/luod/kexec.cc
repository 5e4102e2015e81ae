#include "tools/luod/kexec.h"

#include <errno.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace vmm {

absl::Status ExplainLoadError(int error) {
  switch (error) {
    case EADDRNOTAVAIL:
      return ErrnoStatus(error,
                         "kexec_file_load: kernel and initrd do not fit in the scratch memory of "
                         "Kexec HandOver; boot with a larger kho_scratch=");
    case ENOEXEC:
      return ErrnoStatus(error, "kexec_file_load: not a kernel that can be kexec'ed");
    case EPERM:
      return ErrnoStatus(error,
                         "kexec_file_load: needs CAP_SYS_BOOT, and kernel.kexec_load_disabled = 0");
    case EBUSY:
      return ErrnoStatus(error, "kexec_file_load: another program loads a kernel right now");
    case ENOSYS:
      return ErrnoStatus(error, "kexec_file_load: this kernel was built without KEXEC_FILE");
    case EKEYREJECTED:
    case ENODATA:
    case ENOPKG:
      return ErrnoStatus(error, "kexec_file_load: the kernel's signature is missing or refused");
    default:
      return ErrnoStatus(error, "kexec_file_load");
  }
}

absl::Status SystemKexec::Load(int kernel_fd, int initrd_fd, const std::string& command_line) {
  if (command_line.size() > kMaxCommandLine) {
    return absl::InvalidArgumentError(absl::StrCat("a kernel command line has at most ",
                                                   kMaxCommandLine, " bytes, not ",
                                                   command_line.size()));
  }
  unsigned long flags = initrd_fd < 0 ? KEXEC_FILE_NO_INITRAMFS : 0;
  if (syscall(SYS_kexec_file_load, kernel_fd, initrd_fd, command_line.size() + 1,
              command_line.c_str(), flags) < 0) {
    return ExplainLoadError(errno);
  }
  return absl::OkStatus();
}

absl::Status SystemKexec::Unload() {
  if (syscall(SYS_kexec_file_load, -1, -1, 0UL, nullptr, KEXEC_FILE_UNLOAD) < 0) {
    return ErrnoStatus(errno, "unload the kexec image");
  }
  return absl::OkStatus();
}

absl::Status SystemKexec::Execute() {
  syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, nullptr);
  return ErrnoStatus(errno, "reboot(KEXEC)");
}

}  // namespace vmm
