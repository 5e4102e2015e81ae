// Looks through a guest kernel's log for what a host update must not cause.
#ifndef TESTS_SUPPORT_GUEST_KERNEL_LOG_H_
#define TESTS_SUPPORT_GUEST_KERNEL_LOG_H_

#include <string>
#include <string_view>
#include <vector>

namespace vmm::guest {

// The lines of `log` that tell of a lock-up, a stall, a clock found unstable, a hung task or a
// kernel bug.
std::vector<std::string> KernelComplaints(std::string_view log);

// Takes what the kernel logged since the last call (at the first, since its boot) out of `dmesg`'s
// sight; empty where it cannot be read.
std::string TakeKernelLog();

}  // namespace vmm::guest

#endif  // TESTS_SUPPORT_GUEST_KERNEL_LOG_H_
