#include "tests/support/guest/kernel_log.h"

#include <sys/klog.h>

namespace vmm::guest {
namespace {

// A line complains when it holds both strings, the second after the first; Linux 6.1 to 7.3.
constexpr std::string_view kComplaints[][2] = {
    {"soft lockup", ""},            // kernel/watchdog.c
    {"hard LOCKUP", ""},            //
    {"rcu", "stall"},               // kernel/rcu/tree_stall.h
    {"clocksource", "unstable"},    // kernel/time/clocksource.c
    {"clocksource", "skew"},        //
    {"TSC", "unstable"},            // arch/x86/kernel/tsc.c
    {"blocked for more than", ""},  // kernel/hung_task.c
    {"BUG:", ""},                   //
    {"Oops", ""},                   //
    {"WARNING:", " at "},           // kernel/panic.c; not the "WARNING: See https" of mitigations
};

// SYSLOG_ACTION_READ_CLEAR and SYSLOG_ACTION_SIZE_BUFFER of syslog(2); the C library names neither.
constexpr int kReadClear = 4;
constexpr int kSizeBuffer = 10;

bool Complains(std::string_view line) {
  for (const auto& [first, second] : kComplaints) {
    const size_t at = line.find(first);
    if (at != std::string_view::npos && line.find(second, at) != std::string_view::npos)
      return true;
  }
  return false;
}

}  // namespace

std::vector<std::string> KernelComplaints(std::string_view log) {
  std::vector<std::string> complaints;
  while (!log.empty()) {
    const std::string_view line = log.substr(0, log.find('\n'));
    log.remove_prefix(line.size() == log.size() ? line.size() : line.size() + 1);
    if (Complains(line)) complaints.emplace_back(line);
  }
  return complaints;
}

std::string TakeKernelLog() {
  const int size = klogctl(kSizeBuffer, nullptr, 0);
  if (size <= 0) return "";
  std::string log(size, '\0');
  const int length = klogctl(kReadClear, log.data(), size);
  log.resize(length < 0 ? 0 : length);
  return log;
}

}  // namespace vmm::guest
