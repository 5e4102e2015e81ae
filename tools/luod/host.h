// Host: what luod asks of the machine around it before it replaces its kernel. SystemHost asks the
// machine that it runs on.
//
//   RETURN_IF_ERROR(host.CheckKernel(kernel_fd));
//   RETURN_IF_ERROR(host.Sync(std::chrono::minutes(2)));
#ifndef TOOLS_LUOD_HOST_H_
#define TOOLS_LUOD_HOST_H_

#include <stdint.h>

#include <chrono>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace vmm {

class Host {
 public:
  virtual ~Host() = default;
  // Whether the kernel image can take over what this kernel hands over.
  virtual absl::Status CheckKernel(int kernel_fd) = 0;
  // Whether it will, booted with this command line.
  virtual absl::Status CheckCommandLine(const std::string& command_line) = 0;
  // Whether a VM's resume can start this program, by its path.
  virtual absl::Status CheckProgram(const std::string& path) = 0;
  // How much memory could be allocated without swapping or killing anybody, in bytes.
  virtual absl::StatusOr<uint64_t> AvailableMemory() = 0;
  // sync(2); kDeadlineExceeded where a disk or a server does not take it in time. It goes on then.
  virtual absl::Status Sync(std::chrono::milliseconds timeout) = 0;
};

class SystemHost final : public Host {
 public:
  absl::Status CheckKernel(int kernel_fd) override;
  absl::Status CheckCommandLine(const std::string& command_line) override;
  absl::Status CheckProgram(const std::string& path) override;
  absl::StatusOr<uint64_t> AvailableMemory() override;
  absl::Status Sync(std::chrono::milliseconds timeout) override;
};

}  // namespace vmm

#endif  // TOOLS_LUOD_HOST_H_
