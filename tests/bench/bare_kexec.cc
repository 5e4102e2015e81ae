// Replaces the host's kernel at once, with no guest and no luod taking part: what a host update is
// measured against.
//
//   bare_kexec KERNEL INITRD TSC_FILE
//
// The next kernel gets the command line of this one. TSC_FILE is given the time-stamp counter right
// before reboot(2), which a kexec does not reset: what the next /init reads, less this, is the time
// that a kexec takes here.
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>
#include <x86intrin.h>

#include <fstream>
#include <iterator>
#include <string>

#include "base/unique_fd.h"

namespace {

using vmm::UniqueFd;

std::string RunningCommandLine() {
  std::ifstream file("/proc/cmdline");
  std::string line(std::istreambuf_iterator<char>(file), {});
  if (!line.empty() && line.back() == '\n') line.pop_back();
  return line;
}

int Fail(const char* what) {
  perror(what);
  return 1;
}

int Run(const char* kernel_path, const char* initrd_path, const char* tsc_path) {
  const UniqueFd kernel(open(kernel_path, O_RDONLY | O_CLOEXEC));
  if (!kernel.valid()) return Fail(kernel_path);
  const UniqueFd initrd(open(initrd_path, O_RDONLY | O_CLOEXEC));
  if (!initrd.valid()) return Fail(initrd_path);
  const std::string line = RunningCommandLine();
  if (syscall(SYS_kexec_file_load, kernel.get(), initrd.get(), line.size() + 1, line.c_str(), 0UL) <
      0) {
    return Fail("kexec_file_load");
  }
  const UniqueFd file(open(tsc_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!file.valid()) return Fail(tsc_path);
  sync();
  // Written before the reboot, of course: the writing is measured too, and is less than a
  // thousandth of it.
  const std::string tsc = std::to_string(__rdtsc()) + "\n";
  if (write(file.get(), tsc.data(), tsc.size()) < 0) return Fail(tsc_path);
  syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, nullptr);
  return Fail("reboot");
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 4) {
    fprintf(stderr, "usage: bare_kexec KERNEL INITRD TSC_FILE\n");
    return 2;
  }
  return Run(argv[1], argv[2], argv[3]);
}
