// Kexec: loading the next kernel and jumping into it.
//
//   RETURN_IF_ERROR(kexec.Load(kernel_fd, initrd_fd, "console=ttyS0 liveupdate=on"));
//   absl::Status why = kexec.Execute();   // returns only on failure
//   kexec.Unload();
//
// Only kexec_file_load(2): an image loaded by kexec_load(2) carries no Kexec HandOver.
#ifndef TOOLS_LUOD_KEXEC_H_
#define TOOLS_LUOD_KEXEC_H_

#include <stddef.h>

#include <string>

#include "absl/status/status.h"

namespace vmm {

// Longest command line: Linux 7.3, arch/x86/include/asm/setup.h, COMMAND_LINE_SIZE, less its NUL.
inline constexpr size_t kMaxCommandLine = 2047;

class Kexec {
 public:
  virtual ~Kexec() = default;
  // `initrd_fd` is -1 for none. An image that was loaded before is replaced.
  virtual absl::Status Load(int kernel_fd, int initrd_fd, const std::string& command_line) = 0;
  // Forgets the loaded image; OK when there is none.
  virtual absl::Status Unload() = 0;
  // reboot(LINUX_REBOOT_CMD_KEXEC). Returns only when the kernel refuses, and then everything runs
  // as before.
  virtual absl::Status Execute() = 0;
};

class SystemKexec final : public Kexec {
 public:
  absl::Status Load(int kernel_fd, int initrd_fd, const std::string& command_line) override;
  absl::Status Unload() override;
  absl::Status Execute() override;
};

// The error of a kexec_file_load() that failed with `error`, with what an operator can do about it.
absl::Status ExplainLoadError(int error);

}  // namespace vmm

#endif  // TOOLS_LUOD_KEXEC_H_
