// Runs the test host with a network that sends numbered frames to its NIC, and looks into its
// memory from outside.
//
//   frame_source [--frames-per-second N] COMMAND ARGUMENT...
//
// In ARGUMENTs these stand for what this program makes:
//   {fd}        the descriptor of a datagram socket, for -netdev dgram,local.type=fd,local.str={fd}
//   {monitor}   a path, for -monitor unix:{monitor},server=on,wait=off
//   {share}     a folder, for tools/test_host/run --share {share}
//   {disk0}, {disk1}   disk images of 32 MiB; see disk_pattern.h
//
// Frames go out 1000 (or N) times a second as long as COMMAND runs; one for which the emulator has
// no room is skipped, and the next one says so. Meanwhile, once the driver has written
// SHARE/vfio.places, this program reads by the emulator's monitor, some ten times a second: the
// controller's head register, and, in the physical memory of the emulated machine, whether the
// descriptor before it is done and which frame lies in its buffer. That needs nothing of the
// machine's own software: it is seen while one kernel is shut down and the next one boots.
//
// Exits with COMMAND's code; where that is 0, with 1 if for any kexec (from SHARE/vfio.began.N to
// SHARE/vfio.ended.N) these samples do not show DMA going on all through it; or if they do, where
// SHARE/vfio.stops exists.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <map>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "base/unique_fd.h"
#include "tests/support/vfio/disk_pattern.h"
#include "tests/support/vfio/frame.h"

namespace vmm {
namespace {

constexpr uint64_t kNsPerMs = 1'000'000;
constexpr uint64_t kNsPerSecond = 1000 * kNsPerMs;
constexpr uint64_t kPageSize = 4096;
// More frames than the socket holds (its buffer is full with some 280) and than a busy machine
// keeps from the emulator before it takes a look; a NIC that stopped is that far behind after half
// a second, at 1000 a second.
constexpr uint64_t kFarBehind = 500;

uint64_t RealTimeNs() {
  timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  return now.tv_sec * uint64_t{1'000'000'000} + now.tv_nsec;
}

uint64_t g_frame_interval_ns = kNsPerMs;
std::atomic<bool> g_stop = false;
// The number of the last frame that was sent, or could not be.
std::atomic<uint64_t> g_last_number = 0;

void SendFrames(int socket) {
  uint64_t number = 1;
  uint64_t skipped = 0;
  uint64_t next = RealTimeNs();
  while (!g_stop) {
    const uint64_t now = RealTimeNs();
    if (now < next) {
      timespec pause = {.tv_sec = 0, .tv_nsec = static_cast<long>(next - now)};
      nanosleep(&pause, nullptr);
      continue;
    }
    // After a pause of the whole machine: not all of them at once.
    next = now - next > 100 * kNsPerMs ? now : next + g_frame_interval_ns;
    const Frame frame = MakeFrame(number, now, skipped);
    if (send(socket, &frame, sizeof(frame), MSG_DONTWAIT | MSG_NOSIGNAL) != sizeof(frame))
      ++skipped;
    g_last_number = number++;
    // What the NIC sends itself goes nowhere.
    char drain[2048];
    while (recv(socket, drain, sizeof(drain), MSG_DONTWAIT) > 0) {
    }
  }
  printf("frame_source: %lu frames, %lu of them never sent for lack of room\n", number - 1,
         skipped);
}

// The emulator's monitor, in its language for people (HMP).
class Monitor {
 public:
  explicit Monitor(std::string path) : path_(std::move(path)) {}

  // Numbers that `xp` prints, without their addresses; empty when the monitor does not answer.
  std::vector<uint64_t> Examine(const char* format, uint64_t address) {
    const std::string answer = Ask(absl::StrFormat("xp /%s 0x%x", format, address));
    std::vector<uint64_t> values;
    // "00000000febc2810: 0x00000123 0x..."
    size_t at = answer.find(": 0x");
    while (at != std::string::npos) {
      values.push_back(strtoull(answer.c_str() + at + 1, nullptr, 16));
      at = answer.find(" 0x", at + 2);
    }
    return values;
  }

 private:
  std::string Ask(const std::string& command) {
    if (!socket_.valid() && !Connect()) return "";
    const std::string line = command + "\n";
    if (send(socket_.get(), line.data(), line.size(), MSG_NOSIGNAL) < 0) {
      socket_.Reset();
      return "";
    }
    return UntilPrompt();
  }

  bool Connect() {
    UniqueFd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
    sockaddr_un address = {.sun_family = AF_UNIX};
    if (path_.size() >= sizeof(address.sun_path)) return false;
    memcpy(address.sun_path, path_.c_str(), path_.size() + 1);
    if (connect(fd.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) < 0) return false;
    socket_ = std::move(fd);
    return !UntilPrompt().empty();
  }

  std::string UntilPrompt() {
    std::string text;
    while (text.find("(qemu) ") == std::string::npos || text.back() != ' ') {
      pollfd wait = {.fd = socket_.get(), .events = POLLIN};
      char part[4096];
      const ssize_t size =
          poll(&wait, 1, 5000) == 1 ? recv(socket_.get(), part, sizeof(part), 0) : -1;
      if (size <= 0) {
        socket_.Reset();
        return "";
      }
      text.append(part, size);
    }
    return text;
  }

  std::string path_;
  UniqueFd socket_;
};

// Where the driver's ring lies; see TellPlaces() in vfio_nic.cc.
struct Places {
  uint64_t head = 0;
  uint64_t descriptors = 0;
  uint64_t done = 0;
  uint64_t buffers = 0;
  uint64_t buffer = 0;
  std::vector<uint64_t> pages;

  // Physical address of an offset of the arena; what is asked for never crosses a page.
  uint64_t Physical(uint64_t offset) const {
    return offset / kPageSize < pages.size() ? pages[offset / kPageSize] + offset % kPageSize : 0;
  }
};

std::optional<Places> ReadPlaces(const std::string& path) {
  std::ifstream file(path);
  Places places;
  std::string name, value;
  while (file >> name >> value) {
    const uint64_t number = strtoull(value.c_str(), nullptr, 16);
    if (name == "head") places.head = number;
    if (name == "descriptors") places.descriptors = number;
    if (name == "done") places.done = number;
    if (name == "buffers") places.buffers = number;
    if (name == "buffer") places.buffer = number;
    if (name == "page") places.pages.push_back(number);
  }
  if (places.head == 0 || places.descriptors == 0 || places.pages.empty()) return std::nullopt;
  return places;
}

struct Sample {
  uint64_t time_ns = 0;
  uint64_t number = 0;  // of the last frame outside by then
  uint64_t head = 0;
  uint64_t frame = 0;  // the last one in memory; 0 where the ring was not to be seen
};

Sample TakeSample(Monitor& monitor, const Places& places) {
  Sample sample = {.time_ns = RealTimeNs(), .number = g_last_number};
  const std::vector<uint64_t> head = monitor.Examine("1wx", places.head);
  // While a kernel sizes the BARs nothing answers at the register's address.
  if (head.size() != 1 || head[0] >= places.descriptors) return sample;
  sample.head = head[0];
  const uint64_t last = (head[0] + places.descriptors - 1) % places.descriptors;
  const std::vector<uint64_t> done =
      monitor.Examine("1bx", places.Physical(last * 16 + places.done));
  if (done.size() != 1 || (done[0] & 1) == 0) return sample;
  const std::vector<uint64_t> frame = monitor.Examine(
      "2gx", places.Physical(places.buffers + last * places.buffer + offsetof(Frame, magic)));
  if (frame.size() == 2 && frame[0] == kFrameMagic) sample.frame = frame[1];
  return sample;
}

std::vector<Sample> g_samples;

uint64_t FileTime(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) < 0) return 0;
  return info.st_mtim.tv_sec * uint64_t{1'000'000'000} + info.st_mtim.tv_nsec;
}

void Look(const std::string& share, const std::string& monitor_path) {
  Monitor monitor(monitor_path);
  const std::string path = share + "/vfio.places";
  std::optional<Places> places;
  uint64_t written = 0;
  while (!g_stop) {
    usleep(50'000);
    // It is written anew right before each kexec, perhaps of another ring.
    const uint64_t now_written = FileTime(path);
    if (now_written != written) {
      places = ReadPlaces(path);
      written = now_written;
    }
    if (places.has_value()) g_samples.push_back(TakeSample(monitor, *places));
  }
}

// Whether the samples show DMA going on all through each kexec.
bool Judge(const std::string& share) {
  // No NIC took part.
  if (!ReadPlaces(share + "/vfio.places").has_value()) return true;
  const bool stops = FileTime(share + "/vfio.stops") != 0;
  bool good = true;
  for (int generation = 0;; ++generation) {
    const uint64_t began = FileTime(absl::StrCat(share, "/vfio.began.", generation));
    const uint64_t ended = FileTime(absl::StrCat(share, "/vfio.ended.", generation));
    if (began == 0 || ended <= began) return good;
    printf("kexec %d, %lu ms, seen from outside:\n", generation + 1, (ended - began) / kNsPerMs);
    uint64_t first = 0;
    uint64_t last = 0;
    uint64_t behind = 0;
    int looks = 0;
    for (const Sample& sample : g_samples) {
      if (sample.time_ns < began || sample.time_ns > ended) continue;
      printf("  %6lu ms  head %5lu  in memory: frame %lu  outside: %lu\n",
             (sample.time_ns - began) / kNsPerMs, sample.head, sample.frame, sample.number);
      ++looks;
      last = std::max(last, sample.frame);
      if (first == 0) first = last;
      if (last != 0) behind = std::max(behind, sample.number - std::min(last, sample.number));
    }
    const bool went_on = looks >= 4 && last > first && behind <= kFarBehind;
    printf(
        "  %s all through it: %d looks, %lu frames landed between the first and the last, memory "
        "at most %lu frames behind\n",
        went_on ? "DMA" : "no DMA", looks, last - first, behind);
    if (went_on == stops) {
      printf("  FAIL\n");
      good = false;
    }
  }
}

// argv[first] is COMMAND.
int Run(int first, int argc, char** argv) {
  const char* const base = getenv("TEST_TMPDIR");
  std::string folder = absl::StrCat(base == nullptr ? "/tmp" : base, "/frame-source.XXXXXX");
  if (mkdtemp(folder.data()) == nullptr) {
    perror(folder.c_str());
    return 1;
  }
  // Not in Bazel's deep folder: a socket's path is short.
  std::string sockets = "/tmp/frame-source.XXXXXX";
  if (mkdtemp(sockets.data()) == nullptr) {
    perror(sockets.c_str());
    return 1;
  }
  const std::string share = folder + "/share";
  const std::string monitor = sockets + "/monitor";
  mkdir(share.c_str(), 0755);
  std::map<std::string, std::string> disks;
  for (int i = 0; i < 2; ++i) {
    const std::string path = absl::StrCat(folder, "/disk", i);
    if (!MakeDisk(path, i)) {
      perror(path.c_str());
      return 1;
    }
    disks[absl::StrCat("{disk", i, "}")] = path;
  }
  int ends[2];
  if (socketpair(AF_UNIX, SOCK_DGRAM, 0, ends) < 0) {
    perror("socketpair");
    return 1;
  }
  const UniqueFd ours(ends[0]);
  UniqueFd theirs(ends[1]);
  fcntl(ours.get(), F_SETFD, FD_CLOEXEC);
  std::vector<std::string> arguments;
  for (int i = first; i < argc; ++i) {
    arguments.push_back(absl::StrReplaceAll(argv[i], {{"{fd}", absl::StrCat(theirs.get())},
                                                      {"{monitor}", monitor},
                                                      {"{share}", share},
                                                      {"{disk0}", disks["{disk0}"]},
                                                      {"{disk1}", disks["{disk1}"]}}));
  }
  std::vector<char*> words;
  for (std::string& argument : arguments) words.push_back(argument.data());
  words.push_back(nullptr);
  const pid_t pid = fork();
  if (pid == 0) {
    execvp(words[0], words.data());
    perror(words[0]);
    _exit(127);
  }
  theirs.Reset();
  std::thread sender(SendFrames, ours.get());
  std::thread looker(Look, share, monitor);
  int status = 0;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
  }
  g_stop = true;
  sender.join();
  looker.join();
  const bool good = Judge(share);
  const std::string remove = absl::StrCat("rm -rf '", folder, "' '", sockets, "'");
  if (system(remove.c_str()) != 0) fprintf(stderr, "frame_source: %s stays\n", folder.c_str());
  if (!WIFEXITED(status)) return 128 + WTERMSIG(status);
  if (WEXITSTATUS(status) != 0) return WEXITSTATUS(status);
  return good ? 0 : 1;
}

}  // namespace
}  // namespace vmm

int main(int argc, char** argv) {
  int first = 1;
  uint64_t rate = 1000;
  if (argc > 2 && strcmp(argv[1], "--frames-per-second") == 0) {
    if (!absl::SimpleAtoi(argv[2], &rate)) rate = 0;
    first = 3;
  }
  if (argc <= first || rate == 0) {
    fprintf(stderr, "usage: frame_source [--frames-per-second N] COMMAND ARGUMENT...\n");
    return 2;
  }
  vmm::g_frame_interval_ns = vmm::kNsPerSecond / rate;
  return vmm::Run(first, argc, argv);
}
