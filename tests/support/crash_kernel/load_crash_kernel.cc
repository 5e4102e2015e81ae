// Loads the kernel that takes over when this one panics (kdump), into what crashkernel= reserved.
//
//   load_crash_kernel KERNEL INITRD COMMAND_LINE
#include <fcntl.h>
#include <linux/kexec.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/unique_fd.h"

namespace {

int Fail(const char* what) {
  perror(what);
  return 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: load_crash_kernel KERNEL INITRD COMMAND_LINE\n");
    return 2;
  }
  const vmm::UniqueFd kernel(open(argv[1], O_RDONLY | O_CLOEXEC));
  if (!kernel.valid()) return Fail(argv[1]);
  const vmm::UniqueFd initrd(open(argv[2], O_RDONLY | O_CLOEXEC));
  if (!initrd.valid()) return Fail(argv[2]);
  if (syscall(SYS_kexec_file_load, kernel.get(), initrd.get(), strlen(argv[3]) + 1, argv[3],
              static_cast<unsigned long>(KEXEC_FILE_ON_CRASH)) < 0) {
    return Fail("kexec_file_load");
  }
  return 0;
}
