// The /init of the guests in end-to-end tests: it keeps a guest as busy and as watchful as a host
// update can find one.
//
// A thread on each CPU rewrites its part of a checked pattern in memory and holds known values in
// the vector registers; one more watches the clocks. Options are in options.h. It speaks on the
// console, a line at a time:
//
//   WORKLOAD ready cpus=2 pages=12000 seed=1 boot_complaints=0
//   HB n=12 mono=12.004512 real=1700000000.1 maxgap_ms=3.1 pages_verified=90210 errors=0 ...
//
// and takes commands there, a line each:
//
//   verify     compares every byte:  VERIFY ok words=N  or  VERIFY FAIL errors=N index=I ...
//   status     COMPLAINT lines of the kernel's log since the start (lock-ups, stalls, unstable
//              clocks), then a heartbeat line named STATUS
//   fpu        the register checks:  FPU ok checks=N  or  FPU FAIL checks=N errors=N
//   reset-gap  forgets the largest gap seen:  RESET-GAP ok
//   poweroff   turns the guest off
//   reboot     restarts it the way its kernel thinks best
//   crash      restarts it by a triple fault
//
// `errors` counts wrong words, `fpu_errors` wrong registers, `*_back` steps backwards of a clock,
// `complaints` those of the kernel's log as of the last `status`. The first wrong word is shown at
// once, in a line MEMORY-ERROR.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <iostream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/guest/clock_watch.h"
#include "tests/support/guest/kernel_log.h"
#include "tests/support/guest/options.h"
#include "tests/support/guest/pattern.h"
#include "tests/support/guest/vector_registers.h"

namespace vmm::guest {
namespace {

// Writes one whole line, so that those of several threads do not mix.
__attribute__((format(printf, 1, 2))) void Say(const char* format, ...) {
  char line[512];
  va_list arguments;
  va_start(arguments, format);
  const int length = vsnprintf(line, sizeof(line) - 1, format, arguments);
  va_end(arguments);
  const size_t end = std::min<size_t>(std::max(length, 0), sizeof(line) - 2);
  line[end] = '\n';
  if (write(STDOUT_FILENO, line, end + 1) < 0) abort();
}

[[noreturn]] void Fail(const std::string& what) {
  Say("WORKLOAD FAIL %s", what.c_str());
  reboot(RB_POWER_OFF);
  exit(1);
}

void SleepMicroseconds(uint64_t us) {
  const timespec time = {static_cast<time_t>(us / 1'000'000),
                         static_cast<long>(us % 1'000'000 * 1000)};
  nanosleep(&time, nullptr);
}

void PinTo(int cpu) {
  cpu_set_t set;
  CPU_ZERO(&set);
  CPU_SET(cpu, &set);
  pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
}

// A CPU's thread and its part of the pattern.
class Worker {
 public:
  Worker(PatternRegion region, int cpu, const Options& options)
      : region_(std::move(region)), cpu_(cpu), options_(options) {}

  // Rewrites the part round and round, for good.
  void Run() {
    PinTo(cpu_);
    size_t page = 0;
    while (true) {
      for (uint64_t i = 0; i < options_.batch_pages; ++i) {
        {
          const std::lock_guard<std::mutex> lock(mutex_);
          Count(region_.Advance(page));
        }
        page = (page + 1) % region_.pages();
      }
      fpu_errors_ += CheckVectorRegisters(++fpu_checks_ + cpu_, options_.spins);
      if (options_.rest_us > 0) SleepMicroseconds(options_.rest_us);
    }
  }

  // Compares every page of the part, between the rewriting.
  PatternErrors VerifyAll() {
    PatternErrors errors;
    for (size_t page = 0; page < region_.pages(); ++page) {
      const std::lock_guard<std::mutex> lock(mutex_);
      errors.Merge(region_.Verify(page));
    }
    return errors;
  }

  uint64_t pages() const { return region_.pages(); }
  uint64_t pages_verified() const { return pages_verified_; }
  uint64_t errors() const { return errors_; }
  uint64_t fpu_checks() const { return fpu_checks_; }
  uint64_t fpu_errors() const { return fpu_errors_; }

 private:
  void Count(const PatternErrors& errors) {
    ++pages_verified_;
    if (errors.count == 0) return;
    if (errors_ == 0) {
      Say("MEMORY-ERROR cpu=%d index=%lu expected=%016lx found=%016lx", cpu_, errors.index,
          errors.expected, errors.found);
    }
    errors_ += errors.count;
  }

  std::mutex mutex_;  // Guards region_ and what it covers, a page at a time.
  PatternRegion region_;
  const int cpu_;
  const Options options_;
  std::atomic<uint64_t> pages_verified_ = 0;
  std::atomic<uint64_t> errors_ = 0;
  std::atomic<uint64_t> fpu_checks_ = 0;
  std::atomic<uint64_t> fpu_errors_ = 0;
};

class Workload {
 public:
  explicit Workload(const Options& options) : options_(options) {}

  // Fills the memory and starts the threads.
  void Start();

  // Obeys one line from the console.
  void Obey(const std::string& command);

 private:
  void WatchClocks();
  void Report(const char* name);
  void Complain();
  void Verify();
  template <typename Getter>
  uint64_t Sum(Getter getter) const {
    uint64_t sum = 0;
    for (const auto& worker : workers_) sum += (worker.get()->*getter)();
    return sum;
  }

  const Options options_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::atomic<size_t> complaints_ = 0;  // Of the kernel's log, as of the last look.
  Clocks start_;                        // Where the TSC's frequency is measured from.
  std::mutex mutex_;                    // Guards clocks_ and beats_.
  ClockWatch clocks_;
  uint64_t beats_ = 0;
};

void Workload::Start() {
  struct sysinfo info = {};
  sysinfo(&info);
  const int cpus = get_nprocs();
  const uint64_t free_bytes = static_cast<uint64_t>(info.freeram) * info.mem_unit;
  const size_t pages_each = free_bytes / 100 * options_.memory_percent / 4096 / cpus;
  if (pages_each == 0) Fail("no memory to fill");
  const size_t bytes = pages_each * cpus * 4096;
  void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (memory == MAP_FAILED) Fail("mmap");
  auto* words = static_cast<uint64_t*>(memory);
  start_ = ReadClocks();
  for (int cpu = 0; cpu < cpus; ++cpu) {
    const uint64_t first = cpu * pages_each * kWordsPerPage;
    PatternRegion region(words + first, pages_each, first, options_.seed);
    region.Fill();
    workers_.push_back(std::make_unique<Worker>(std::move(region), cpu, options_));
  }
  // What the boot itself brought about is told apart from what comes later.
  Complain();
  Say("WORKLOAD ready cpus=%d pages=%zu seed=%lu boot_complaints=%zu", cpus, pages_each * cpus,
      options_.seed, complaints_.exchange(0));
  for (auto& worker : workers_) std::thread(&Worker::Run, worker.get()).detach();
  std::thread(&Workload::WatchClocks, this).detach();
}

void Workload::WatchClocks() {
  // On one CPU, so that a step backwards is the clock's and not a difference between two CPUs'
  // counters.
  PinTo(get_nprocs() - 1);
  int64_t next_beat_ns = 0;
  while (true) {
    bool beat = false;
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      const Clocks now = ReadClocks();
      clocks_.Observe(now);
      if (options_.heartbeat_ms > 0 && now.monotonic_ns >= next_beat_ns) {
        next_beat_ns = now.monotonic_ns + static_cast<int64_t>(options_.heartbeat_ms) * 1'000'000;
        ++beats_;
        beat = true;
      }
    }
    if (beat) Report("HB");
    SleepMicroseconds(options_.sample_us);
  }
}

void Workload::Report(const char* name) {
  ClockWatch::Report report;
  Clocks now;
  uint64_t beats;
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    report = clocks_.report();
    now = clocks_.last();
    beats = beats_;
  }
  const double tsc_per_ms = static_cast<double>(now.tsc - start_.tsc) * 1e6 /
                            std::max<int64_t>(now.monotonic_ns - start_.monotonic_ns, 1);
  Say("%s n=%lu mono=%.6f real=%.6f tsc=%lu maxgap_ms=%.3f tscgap_ms=%.3f samples=%lu "
      "pages_verified=%lu errors=%lu "
      "fpu_errors=%lu mono_back=%lu real_back=%lu tsc_back=%lu complaints=%zu",
      name, beats, now.monotonic_ns / 1e9, now.realtime_ns / 1e9, now.tsc, report.max_gap_ns / 1e6,
      static_cast<double>(report.max_gap_tsc) / std::max(tsc_per_ms, 1.0), report.samples,
      Sum(&Worker::pages_verified), Sum(&Worker::errors), Sum(&Worker::fpu_errors),
      report.monotonic_back, report.realtime_back, report.tsc_back, complaints_.load());
}

void Workload::Verify() {
  PatternErrors errors;
  for (auto& worker : workers_) errors.Merge(worker->VerifyAll());
  // What the rewriting threads found on their way was overwritten by them and counts as well.
  const uint64_t earlier = Sum(&Worker::errors);
  if (errors.count == 0 && earlier == 0) {
    Say("VERIFY ok words=%lu", Sum(&Worker::pages) * kWordsPerPage);
  } else {
    Say("VERIFY FAIL errors=%lu earlier=%lu index=%lu expected=%016lx found=%016lx", errors.count,
        earlier, errors.index, errors.expected, errors.found);
  }
}

void Workload::Complain() {
  const std::vector<std::string> complaints = KernelComplaints(TakeKernelLog());
  for (const std::string& complaint : complaints) Say("COMPLAINT %s", complaint.c_str());
  complaints_ += complaints.size();
}

void WriteFile(const char* path, std::string_view text) {
  const int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (fd < 0 || write(fd, text.data(), text.size()) < 0) Say("ERROR cannot write %s", path);
  if (fd >= 0) close(fd);
}

void Workload::Obey(const std::string& command) {
  if (command == "verify") {
    Verify();
  } else if (command == "status") {
    Complain();
    Report("STATUS");
  } else if (command == "fpu") {
    const uint64_t errors = Sum(&Worker::fpu_errors);
    Say("FPU %s checks=%lu errors=%lu", errors == 0 ? "ok" : "FAIL", Sum(&Worker::fpu_checks),
        errors);
  } else if (command == "reset-gap") {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      clocks_.ResetGap();
    }
    Say("RESET-GAP ok");
  } else if (command == "poweroff") {
    reboot(RB_POWER_OFF);
  } else if (command == "reboot") {
    reboot(RB_AUTOBOOT);
  } else if (command == "crash") {
    // Documentation/ABI/testing/sysfs-kernel-reboot: the restart by an empty interrupt table.
    WriteFile("/sys/kernel/reboot/type", "triple");
    WriteFile("/sys/kernel/reboot/force", "1");
    reboot(RB_AUTOBOOT);
  } else if (!command.empty()) {
    Say("ERROR unknown command: %s", command.c_str());
  }
}

// Lines as they come, no echo among the output.
void PrepareConsole() {
  termios settings;
  if (tcgetattr(STDIN_FILENO, &settings) < 0) return;
  settings.c_lflag &= ~(ECHO | ECHONL);
  settings.c_iflag |= ICRNL;
  tcsetattr(STDIN_FILENO, TCSANOW, &settings);
}

std::string ReadCommandLine() {
  std::string line;
  char buffer[4096];
  const int fd = open("/proc/cmdline", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return line;
  const ssize_t length = read(fd, buffer, sizeof(buffer));
  close(fd);
  if (length > 0) line.assign(buffer, length);
  return line;
}

void MountAll() {
  const struct {
    const char* type;
    const char* path;
  } kMounts[] = {{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}};
  for (const auto& [type, path] : kMounts) {
    mkdir(path, 0755);
    if (mount(type, path, type, 0, nullptr) < 0) Say("ERROR cannot mount %s", path);
  }
}

int Main() {
  MountAll();
  PrepareConsole();
  Options options;
  std::string wrong;
  if (!ParseOptions(ReadCommandLine(), options, wrong)) Fail("option " + wrong);
  Workload workload(options);
  workload.Start();
  for (std::string line; std::getline(std::cin, line);) workload.Obey(line);
  // No console to take commands from: the threads go on.
  while (true) pause();
}

}  // namespace
}  // namespace vmm::guest

int main() { return vmm::guest::Main(); }
