// A program that goes through live updates by itself, as one written for the kernel: it knows
// nothing of luo-emulate.
//
//   update_program chain LAST     hands a count and a file over, kexec after kexec, to LAST; exit
//                                 code 42
//   update_program hold NAME      keeps a session of that name open, and a file in it, until
//   killed;
//                                 prints a line when it is there
//   update_program check NAME     what hold NAME left is there, once
//   update_program absent NAME    no such session came
//   update_program not-loaded     reboot(KEXEC) without a kernel fails with EINVAL
//   update_program bad-loads      what kexec_file_load() refuses
//   update_program failed-freeze  a file that has grown calls the kexec off; all goes on
//   update_program closed         what is closed before the kexec is not handed over, then kexec
//   update_program power-off | restart
//   update_program i386           by 32-bit system calls nothing is to be had
//
// Exit codes: 0, 42; 1 with a message; 77 where it cannot be tried here.
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/liveupdate.h>
#include <linux/reboot.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

namespace {

constexpr size_t kFileSize = (3 << 20) + 5000;  // not whole pages, and several folios
constexpr off_t kPosition = 12345;

[[noreturn]] void Fail(const char* what) {
  fprintf(stderr, "update_program: %s: %s\n", what, strerror(errno));
  exit(1);
}

void Check(bool holds, const char* what) {
  if (!holds) Fail(what);
}

int OpenDevice() {
  const int device = open("/dev/liveupdate", O_RDWR | O_CLOEXEC);
  Check(device >= 0, "open /dev/liveupdate");
  return device;
}

// The session or a negated errno. Both commands have a structure of one shape.
int ByName(int device, unsigned long command, const std::string& name) {
  liveupdate_ioctl_create_session request = {};
  request.size = sizeof(request);
  memcpy(request.name, name.c_str(), name.size() + 1);
  return ioctl(device, command, &request) < 0 ? -errno : request.fd;
}

int Create(int device, const std::string& name) {
  const int session = ByName(device, LIVEUPDATE_IOCTL_CREATE_SESSION, name);
  Check(session >= 0, "create a session");
  return session;
}

int Preserve(int session, int file, uint64_t token) {
  liveupdate_session_preserve_fd request = {};
  request.size = sizeof(request);
  request.fd = file;
  request.token = token;
  return ioctl(session, LIVEUPDATE_SESSION_PRESERVE_FD, &request) < 0 ? -errno : 0;
}

int Retrieve(int session, uint64_t token) {
  liveupdate_session_retrieve_fd request = {};
  request.size = sizeof(request);
  request.token = token;
  return ioctl(session, LIVEUPDATE_SESSION_RETRIEVE_FD, &request) < 0 ? -errno : request.fd;
}

int Finish(int session) {
  liveupdate_session_finish request = {};
  request.size = sizeof(request);
  return ioctl(session, LIVEUPDATE_SESSION_FINISH, &request) < 0 ? -errno : 0;
}

int Memfd(const std::string& contents) {
  const int file = memfd_create("update_program", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  Check(file >= 0 &&
            write(file, contents.data(), contents.size()) == static_cast<ssize_t>(contents.size()),
        "memfd");
  return file;
}

std::string Contents(int file) {
  struct stat status;
  Check(fstat(file, &status) == 0, "fstat");
  std::string text(static_cast<size_t>(status.st_size), '\0');
  Check(pread(file, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size()), "pread");
  return text;
}

std::string Pattern(int seed) {
  std::string text(kFileSize, '\0');
  uint32_t state = 12345 + static_cast<uint32_t>(seed);
  for (char& c : text) {
    state = state * 1664525 + 1013904223;  // Numerical Recipes' linear congruential generator
    c = static_cast<char>(state >> 24);
  }
  return text;
}

int Load(const char* command_line) {
  const int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  const long result = syscall(SYS_kexec_file_load, self, -1, strlen(command_line) + 1, command_line,
                              KEXEC_FILE_NO_INITRAMFS);
  const int error = errno;
  close(self);
  return result < 0 ? -error : 0;
}

int Reboot(unsigned command) {
  return syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, command, nullptr) < 0
             ? -errno
             : 0;
}

[[noreturn]] void Kexec() {
  Check(Load("console=ttyS0") == 0, "kexec_file_load");
  errno = -Reboot(LINUX_REBOOT_CMD_KEXEC);
  Fail("reboot(KEXEC)");
}

int Chain(int last) {
  const int device = OpenDevice();
  int session = ByName(device, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, "chain");
  int count = 0;
  if (session != -ENOENT) {
    Check(session >= 0, "retrieve the session");
    Check(ByName(device, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, "chain") == -EINVAL,
          "it is retrieved once");
    const int number = Retrieve(session, 1);
    Check(number >= 0, "retrieve the count");
    Check(fcntl(number, F_GETFD) == FD_CLOEXEC, "close-on-exec");
    count = atoi(Contents(number).c_str());
    const int file = Retrieve(session, ~uint64_t{0});
    Check(file >= 0, "retrieve the file");
    Check(Contents(file) == Pattern(count), "the file's contents");
    Check(lseek(file, 0, SEEK_CUR) == kPosition, "the file's position");
    Check(fcntl(file, F_GET_SEALS) == F_SEAL_SHRINK, "the file's seals");
    const int again = Retrieve(session, ~uint64_t{0});
    Check(again >= 0 && lseek(again, 1, SEEK_SET) == 1 && lseek(file, 0, SEEK_CUR) == 1,
          "both descriptors are of one open file");
    Check(Retrieve(session, 99) == -ENOENT, "a token that nobody used");
    Check(Preserve(session, number, 5) == -EINVAL, "an incoming session takes nothing");
    Check(Finish(session) == 0, "finish");
    Check(Retrieve(session, 1) == -ENOENT, "a finished session has nothing");
    Check(Contents(file) == Pattern(count), "the file lives on");
    Check(close(session) == 0, "close");
    // What is retrieved and finished can be preserved again.
    const int other = Create(device, "again");
    Check(Preserve(other, file, 1) == 0, "preserve a retrieved file");
    close(other);
    printf("chain: %d\n", count);
    fflush(stdout);
    if (count == last) return 42;
  }
  session = Create(device, "chain");
  Check(Preserve(session, Memfd(std::to_string(count + 1)), 1) == 0, "preserve the count");
  const int file = Memfd(Pattern(0));
  Check(fcntl(file, F_ADD_SEALS, F_SEAL_SHRINK) == 0, "seal");
  Check(Preserve(session, file, ~uint64_t{0}) == 0, "preserve the file");
  // Its contents, and where it is read, may change to the end.
  const std::string pattern = Pattern(count + 1);
  Check(pwrite(file, pattern.data(), pattern.size(), 0) == static_cast<ssize_t>(pattern.size()),
        "write into a preserved file");
  Check(lseek(file, kPosition, SEEK_SET) == kPosition, "lseek");
  Kexec();
}

int Hold(const std::string& name) {
  // The device may be held by another of these for a moment.
  int device;
  while ((device = open("/dev/liveupdate", O_RDWR | O_CLOEXEC)) < 0 && errno == EBUSY) usleep(1000);
  Check(device >= 0, "open /dev/liveupdate");
  const int session = Create(device, name);
  close(device);
  Check(Preserve(session, Memfd("contents of " + name), 7) == 0, "preserve");
  printf("held\n");
  fflush(stdout);
  for (;;) pause();
}

int CheckHeld(const std::string& name) {
  const int device = OpenDevice();
  const int session = ByName(device, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, name);
  Check(session >= 0, "retrieve the session");
  const int file = Retrieve(session, 7);
  Check(file >= 0 && Contents(file) == "contents of " + name, "what it holds");
  close(session);
  Check(ByName(device, LIVEUPDATE_IOCTL_RETRIEVE_SESSION, name) == -ENOENT,
        "a closed session is finished");
  return 0;
}

int Absent(const std::string& name) {
  Check(ByName(OpenDevice(), LIVEUPDATE_IOCTL_RETRIEVE_SESSION, name) == -ENOENT, "it is there");
  return 0;
}

int NotLoaded() {
  Check(Reboot(LINUX_REBOOT_CMD_KEXEC) == -EINVAL, "reboot(KEXEC) without a kernel");
  Check(Load("") == 0, "load");
  Check(syscall(SYS_kexec_file_load, -1, -1, 0UL, nullptr, KEXEC_FILE_UNLOAD) == 0, "unload");
  Check(Reboot(LINUX_REBOOT_CMD_KEXEC) == -EINVAL, "reboot(KEXEC) after unloading");
  Check(Reboot(0x12345678) == -EINVAL, "an unknown command");
  Check(syscall(SYS_reboot, 1, LINUX_REBOOT_MAGIC2, LINUX_REBOOT_CMD_KEXEC, nullptr) == -1 &&
            errno == EINVAL,
        "no magic");
  return 0;
}

int BadLoads() {
  const int self = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
  const auto load = [](int kernel, int initrd, unsigned long length, const char* command_line,
                       unsigned long flags) {
    return syscall(SYS_kexec_file_load, kernel, initrd, length, command_line, flags) < 0 ? errno
                                                                                         : 0;
  };
  Check(load(self, -1, 1, "", 0x8000) == EINVAL, "unknown flags");
  Check(load(-1, -1, 1, "", KEXEC_FILE_NO_INITRAMFS) == EBADF, "no kernel");
  Check(load(self, -1, 1, "", 0) == EBADF, "no initrd");
  Check(load(self, -1, 3, "abc", KEXEC_FILE_NO_INITRAMFS) == EINVAL, "no NUL");
  Check(load(self, -1, 3, nullptr, KEXEC_FILE_NO_INITRAMFS) == EFAULT, "no command line");
  Check(load(self, self, 1, "", 0) == 0, "with an initrd");
  return 0;
}

int FailedFreeze() {
  const int device = OpenDevice();
  const int good = Create(device, "good");
  const int good_file = Memfd("good");
  Check(Preserve(good, good_file, 7) == 0, "preserve");
  const int bad = Create(device, "bad");
  const int bad_file = Memfd("bad");
  Check(Preserve(bad, bad_file, 1) == 0, "preserve");
  // Linux refuses this with EPERM, and then there is nothing to fail.
  if (pwrite(bad_file, "grown", 5, 100000) < 0) return 77;
  Check(Load("") == 0, "load");
  for (int i = 0; i < 3; ++i) Check(Reboot(LINUX_REBOOT_CMD_KEXEC) == -EPERM, "the kexec fails");
  // All is thawed: sessions take files, close, and are made.
  Check(Preserve(good, Memfd("more"), 8) == 0, "preserve after a failed kexec");
  Check(Preserve(bad, good_file, 2) == -EBUSY, "what was preserved still is");
  Check(close(bad) == 0, "close");
  Check(Contents(good_file) == "good", "the file is in use");
  close(good);
  const int held = Create(device, "after failure");
  Check(Preserve(held, Memfd("contents of after failure"), 7) == 0, "preserve");
  errno = -Reboot(LINUX_REBOOT_CMD_KEXEC);
  Fail("reboot(KEXEC)");
}

int Closed() {
  const int device = OpenDevice();
  const int kept = Create(device, "kept"), closed = Create(device, "closed");
  const int kept_file = Memfd("contents of kept"), closed_file = Memfd(std::string(1 << 20, 'x'));
  Check(Preserve(kept, kept_file, 7) == 0 && Preserve(closed, closed_file, 7) == 0, "preserve");
  close(closed);
  Kexec();
}

int I386() {
  const pid_t child = fork();
  if (child == 0) {
    long result;
    // reboot(2), then an ioctl of LUO, by their numbers there.
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(88L), "b"(0xfee1deadL), "c"(672274793L), "d"(0x45584543L), "S"(0L)
                     : "memory");
    if (result != -ENOSYS) _exit(2);
    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(54L), "b"(0L), "c"(0xba00L), "d"(0L)
                     : "memory");
    _exit(result == -ENOTTY ? 0 : 3);
  }
  int status;
  waitpid(child, &status, 0);
  if (WIFSIGNALED(status)) return 77;  // no 32-bit system calls here
  return WEXITSTATUS(status);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string what = argc > 1 ? argv[1] : "";
  const std::string name = argc > 2 ? argv[2] : "";
  if (what == "chain") return Chain(atoi(name.c_str()));
  if (what == "hold") return Hold(name);
  if (what == "check") return CheckHeld(name);
  if (what == "absent") return Absent(name);
  if (what == "not-loaded") return NotLoaded();
  if (what == "bad-loads") return BadLoads();
  if (what == "failed-freeze") return FailedFreeze();
  if (what == "closed") return Closed();
  if (what == "power-off") return -Reboot(LINUX_REBOOT_CMD_POWER_OFF);
  if (what == "restart") return -Reboot(LINUX_REBOOT_CMD_RESTART);
  if (what == "i386") return I386();
  fprintf(stderr, "update_program: no such part: %s\n", what.c_str());
  return 1;
}
