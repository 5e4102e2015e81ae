// What every /dev/liveupdate must do with the descriptors and structures of programs, before a
// kexec: the kernel's own, and an emulated one.
//
//   device_file_test                   as root, in a host whose /dev/liveupdate nobody else holds
//   luo-emulate -- device_file_test
#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <linux/liveupdate.h>
#include <linux/openat2.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "base/unique_fd.h"

namespace luo {
namespace {

using ::vmm::UniqueFd;

constexpr char kDevice[] = "/dev/liveupdate";
constexpr size_t kPage = 4096;

// 0 or the errno.
int Call(int fd, unsigned long command, void* argument) {
  return ioctl(fd, command, argument) < 0 ? errno : 0;
}

liveupdate_ioctl_create_session Named(const std::string& name) {
  liveupdate_ioctl_create_session request = {};
  request.size = sizeof(request);
  request.fd = -1;
  memcpy(request.name, name.data(), std::min(name.size(), sizeof(request.name)));
  return request;
}

int Create(int device, const std::string& name, UniqueFd* session) {
  liveupdate_ioctl_create_session request = Named(name);
  const int error = Call(device, LIVEUPDATE_IOCTL_CREATE_SESSION, &request);
  if (error == 0) session->Reset(request.fd);
  return error;
}

int Preserve(int session, int file, uint64_t token) {
  liveupdate_session_preserve_fd request = {};
  request.size = sizeof(request);
  request.fd = file;
  request.token = token;
  return Call(session, LIVEUPDATE_SESSION_PRESERVE_FD, &request);
}

UniqueFd Memfd(size_t size = kPage) {
  UniqueFd file(memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(ftruncate(file.get(), static_cast<off_t>(size)), 0);
  return file;
}

class DeviceFileTest : public ::testing::Test {
 protected:
  void SetUp() override {
    device_.Reset(open(kDevice, O_RDWR | O_CLOEXEC));
    if (!device_.valid() && errno == ENOENT) GTEST_SKIP() << "there is no " << kDevice;
    ASSERT_TRUE(device_.valid()) << strerror(errno);
  }

  UniqueFd Session(const std::string& name) {
    UniqueFd session;
    EXPECT_EQ(Create(device_.get(), name, &session), 0);
    return session;
  }
  // Whether an outgoing session of this name is open somewhere.
  bool IsTaken(const std::string& name) {
    UniqueFd session;
    const int error = Create(device_.get(), name, &session);
    EXPECT_TRUE(error == 0 || error == EEXIST) << strerror(error);
    return error == EEXIST;
  }

  UniqueFd device_;
};

// A child that runs `body`.
pid_t Fork(const std::function<void()>& body) {
  const pid_t child = fork();
  if (child == 0) {
    body();
    _exit(0);
  }
  return child;
}

void Kill(pid_t child) {
  EXPECT_EQ(kill(child, SIGKILL), 0);
  EXPECT_EQ(waitpid(child, nullptr, 0), child);
}

TEST_F(DeviceFileTest, LooksLikeADevice) {
  struct stat status;
  ASSERT_EQ(stat(kDevice, &status), 0);
  EXPECT_TRUE(S_ISCHR(status.st_mode));
  EXPECT_EQ(status.st_mode & 0777, 0600U);
  struct stat link;
  ASSERT_EQ(lstat(kDevice, &link), 0);
  EXPECT_EQ(link.st_rdev, status.st_rdev);
  EXPECT_EQ(access(kDevice, R_OK | W_OK), 0);
  EXPECT_EQ(access(kDevice, X_OK), -1);
  EXPECT_EQ(errno, EACCES);
  EXPECT_EQ(access("/dev/liveupdat", F_OK), -1);
  EXPECT_EQ(errno, ENOENT);
}

TEST_F(DeviceFileTest, IsFoundByEveryPath) {
  const std::string folder = "/tmp/device_file_test." + std::to_string(getpid());
  ASSERT_TRUE(mkdir("/tmp", 0777) == 0 || errno == EEXIST);
  ASSERT_EQ(mkdir(folder.c_str(), 0700), 0);
  const std::string to_device = folder + "/device", to_folder = folder + "/folder";
  ASSERT_EQ(symlink(kDevice, to_device.c_str()), 0);
  ASSERT_EQ(symlink("/dev", to_folder.c_str()), 0);
  UniqueFd dev(open("/dev", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  ASSERT_TRUE(dev.valid());
  device_.Reset();

  const auto opens = [](const char* how, const std::function<int()>& open_it) {
    UniqueFd fd(open_it());
    EXPECT_TRUE(fd.valid()) << how << ": " << strerror(errno);
  };
  opens("open", [] { return static_cast<int>(syscall(SYS_open, kDevice, O_RDWR, 0)); });
  opens("creat", [] { return static_cast<int>(syscall(SYS_creat, kDevice, 0600)); });
  opens("detour", [] { return open("//dev/./shm/../liveupdate", O_RDWR); });
  opens("openat", [&] { return openat(dev.get(), "liveupdate", O_RDWR); });
  opens("openat2", [&] {
    open_how how = {};
    how.flags = O_RDWR;
    return static_cast<int>(syscall(SYS_openat2, dev.get(), "liveupdate", &how, sizeof(how)));
  });
  opens("link", [&] { return open(to_device.c_str(), O_RDWR); });
  opens("folder link", [&] { return open((to_folder + "/liveupdate").c_str(), O_RDWR); });
  EXPECT_EQ(open(to_device.c_str(), O_RDWR | O_NOFOLLOW), -1);
  EXPECT_EQ(errno, ELOOP);
  ASSERT_EQ(chdir("/dev"), 0);
  opens("from its folder", [] { return open("liveupdate", O_RDONLY); });
  ASSERT_EQ(chdir("/"), 0);
  unlink(to_device.c_str());
  unlink(to_folder.c_str());
  rmdir(folder.c_str());
}

TEST_F(DeviceFileTest, HasOneOwnerUntilTheLastClose) {
  EXPECT_EQ(open(kDevice, O_RDWR), -1);
  EXPECT_EQ(errno, EBUSY);
  UniqueFd copy(fcntl(device_.get(), F_DUPFD_CLOEXEC, 0));
  device_.Reset();
  EXPECT_EQ(open(kDevice, O_RDWR), -1);
  EXPECT_EQ(errno, EBUSY);
  copy.Reset();
  for (int i = 0; i < 100; ++i) {
    device_.Reset(open(kDevice, O_RDWR));
    ASSERT_TRUE(device_.valid()) << i << ": " << strerror(errno);
    device_.Reset();
  }
}

TEST_F(DeviceFileTest, OpenHonoursItsFlags) {
  EXPECT_EQ(fcntl(device_.get(), F_GETFD), FD_CLOEXEC);
  EXPECT_EQ(fcntl(device_.get(), F_GETFL) & O_ACCMODE, O_RDWR);
  device_.Reset();
  UniqueFd inherited(open(kDevice, O_RDWR));
  EXPECT_EQ(fcntl(inherited.get(), F_GETFD), 0);
  inherited.Reset();
  EXPECT_EQ(open(kDevice, O_RDWR | O_CREAT | O_EXCL, 0600), -1);
  EXPECT_EQ(errno, EEXIST);
  EXPECT_EQ(open(kDevice, O_RDONLY | O_DIRECTORY), -1);
  EXPECT_EQ(errno, ENOTDIR);
}

TEST_F(DeviceFileTest, CommandsAreToldApart) {
  liveupdate_ioctl_create_session request = Named("x");
  // Not the device's number; its number, but not its command; a session's.
  EXPECT_EQ(Call(device_.get(), _IO(LIVEUPDATE_IOCTL_TYPE, 2), &request), EINVAL);
  EXPECT_EQ(Call(device_.get(), _IOR(LIVEUPDATE_IOCTL_TYPE, 0, int), &request), ENOTTY);
  EXPECT_EQ(Call(device_.get(), LIVEUPDATE_SESSION_PRESERVE_FD, &request), EINVAL);
  UniqueFd session = Session("x");
  EXPECT_EQ(Call(session.get(), LIVEUPDATE_IOCTL_CREATE_SESSION, &request), EINVAL);
  EXPECT_EQ(Call(session.get(), _IO(LIVEUPDATE_IOCTL_TYPE, 0x44), &request), EINVAL);
  EXPECT_EQ(Call(session.get(), _IOW(LIVEUPDATE_IOCTL_TYPE, 0x40, int), &request), ENOTTY);
  // Ours on something else.
  UniqueFd memfd = Memfd();
  EXPECT_EQ(Call(memfd.get(), LIVEUPDATE_SESSION_PRESERVE_FD, &request), ENOTTY);
  EXPECT_EQ(Call(-1, LIVEUPDATE_SESSION_PRESERVE_FD, &request), EBADF);
}

TEST_F(DeviceFileTest, StructuresAreChecked) {
  const unsigned long create = LIVEUPDATE_IOCTL_CREATE_SESSION;
  EXPECT_EQ(Call(device_.get(), create, nullptr), EFAULT);
  liveupdate_ioctl_create_session request = Named("");
  EXPECT_EQ(Call(device_.get(), create, &request), EINVAL);
  request = Named(std::string(64, 'x'));
  EXPECT_EQ(Call(device_.get(), create, &request), EINVAL);
  request = Named("small");
  request.size = sizeof(request) - 1;
  EXPECT_EQ(Call(device_.get(), create, &request), EINVAL);

  // Larger than known: a program of a later kernel.
  struct {
    liveupdate_ioctl_create_session known;
    uint8_t later[100];
  } larger = {};
  larger.known = Named("later");
  larger.known.size = sizeof(larger);
  ASSERT_EQ(Call(device_.get(), create, &larger), 0);
  UniqueFd later(larger.known.fd);
  larger.later[99] = 1;
  larger.known = Named("later 2");
  larger.known.size = sizeof(larger);
  EXPECT_EQ(Call(device_.get(), create, &larger), E2BIG);
  EXPECT_FALSE(IsTaken("later 2"));

  liveupdate_session_get_name name = {};
  name.size = sizeof(name);
  name.reserved = 1;
  EXPECT_EQ(Call(later.get(), LIVEUPDATE_SESSION_GET_NAME, &name), EINVAL);
  name.reserved = 0;
  ASSERT_EQ(Call(later.get(), LIVEUPDATE_SESSION_GET_NAME, &name), 0);
  EXPECT_STREQ(reinterpret_cast<const char*>(name.name), "later");
}

TEST_F(DeviceFileTest, AStructureMayEndWhereMemoryEnds) {
  uint8_t* pages = static_cast<uint8_t*>(
      mmap(nullptr, 2 * kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
  ASSERT_NE(pages, MAP_FAILED);
  ASSERT_EQ(munmap(pages + kPage, kPage), 0);
  liveupdate_ioctl_create_session request = Named("edge");
  uint8_t* last = pages + kPage - sizeof(request);
  memcpy(last, &request, sizeof(request));
  ASSERT_EQ(Call(device_.get(), LIVEUPDATE_IOCTL_CREATE_SESSION, last), 0);
  memcpy(&request, last, sizeof(request));
  UniqueFd session(request.fd);
  memcpy(pages + kPage - sizeof(request) + 8, &request, sizeof(request) - 8);
  EXPECT_EQ(Call(device_.get(), LIVEUPDATE_IOCTL_CREATE_SESSION, last + 8), EFAULT);
  munmap(pages, kPage);
}

TEST_F(DeviceFileTest, AnAnswerThatCannotBeWrittenLeavesNothing) {
  void* page = mmap(nullptr, kPage, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(page, MAP_FAILED);
  const liveupdate_ioctl_create_session request = Named("read-only");
  memcpy(page, &request, sizeof(request));
  ASSERT_EQ(mprotect(page, kPage, PROT_READ), 0);
  const int next = dup(device_.get());
  close(next);
  EXPECT_EQ(Call(device_.get(), LIVEUPDATE_IOCTL_CREATE_SESSION, page), EFAULT);
  EXPECT_EQ(memcmp(page, &request, sizeof(request)), 0);
  EXPECT_EQ(fcntl(next, F_GETFD), -1);
  EXPECT_FALSE(IsTaken("read-only"));
  munmap(page, kPage);
}

TEST_F(DeviceFileTest, WithoutRoomForADescriptorNothingIsMade) {
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  UniqueFd highest(dup(device_.get()));
  rlimit full = before;
  full.rlim_cur = static_cast<rlim_t>(highest.get() + 1);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &full), 0);
  UniqueFd session;
  EXPECT_EQ(Create(device_.get(), "full", &session), EMFILE);
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &before), 0);
  EXPECT_FALSE(IsTaken("full"));
}

TEST_F(DeviceFileTest, ASessionLivesAsLongAsAnyDescriptor) {
  UniqueFd session = Session("vm");
  EXPECT_EQ(fcntl(session.get(), F_GETFD), FD_CLOEXEC);
  UniqueFd copy(dup(session.get())), other(dup3(session.get(), 500, 0));
  session.Reset();
  EXPECT_TRUE(IsTaken("vm"));
  copy.Reset();
  EXPECT_TRUE(IsTaken("vm"));
  // dup2() over the last one closes it.
  ASSERT_EQ(dup2(device_.get(), other.get()), other.get());
  EXPECT_FALSE(IsTaken("vm"));
}

TEST_F(DeviceFileTest, ForkedProcessesShareASession) {
  UniqueFd session = Session("vm");
  UniqueFd memfd = Memfd();
  ASSERT_EQ(Preserve(session.get(), memfd.get(), 1), 0);
  const pid_t child = Fork([] { pause(); });
  session.Reset();
  EXPECT_TRUE(IsTaken("vm"));
  EXPECT_EQ(ftruncate(memfd.get(), 0), -1);
  Kill(child);
  EXPECT_FALSE(IsTaken("vm"));
  EXPECT_EQ(ftruncate(memfd.get(), 0), 0);
}

TEST_F(DeviceFileTest, AChildUsesWhatItInherits) {
  UniqueFd session = Session("vm");
  const pid_t child = Fork([&] {
    UniqueFd memfd = Memfd();
    UniqueFd another;
    _exit(Preserve(session.get(), memfd.get(), 1) != 0 ||
          Create(device_.get(), "of the child", &another) != 0);
  });
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  UniqueFd memfd = Memfd();
  EXPECT_EQ(Preserve(session.get(), memfd.get(), 1), EEXIST);
  EXPECT_FALSE(IsTaken("of the child"));
}

TEST_F(DeviceFileTest, ExecClosesWhatIsMarkedSo) {
  for (const bool inherited : {false, true}) {
    UniqueFd session = Session("vm");
    ASSERT_EQ(fcntl(session.get(), F_SETFD, inherited ? 0 : FD_CLOEXEC), 0);
    int started[2];
    ASSERT_EQ(pipe(started), 0);
    const pid_t child = Fork([&] {
      const std::string program =
          "echo >/proc/self/fd/" + std::to_string(started[1]) + "; exec sleep 1000";
      execl("/bin/sh", "sh", "-c", program.c_str(), nullptr);
    });
    session.Reset();
    char byte;
    ASSERT_EQ(read(started[0], &byte, 1), 1);
    EXPECT_EQ(IsTaken("vm"), inherited);
    Kill(child);
    EXPECT_FALSE(IsTaken("vm"));
    close(started[0]);
    close(started[1]);
  }
}

TEST_F(DeviceFileTest, ASessionCanBePassedOn) {
  UniqueFd session = Session("vm");
  int pair[2];
  ASSERT_EQ(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair), 0);
  char byte = 0;
  iovec data = {&byte, 1};
  alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
  msghdr message = {};
  message.msg_iov = &data;
  message.msg_iovlen = 1;
  message.msg_control = control;
  message.msg_controllen = sizeof(control);
  cmsghdr* header = CMSG_FIRSTHDR(&message);
  header->cmsg_level = SOL_SOCKET;
  header->cmsg_type = SCM_RIGHTS;
  header->cmsg_len = CMSG_LEN(sizeof(int));
  const int fd = session.get();
  memcpy(CMSG_DATA(header), &fd, sizeof(fd));
  ASSERT_EQ(sendmsg(pair[0], &message, 0), 1);
  session.Reset();
  // On its way it is nobody's, and there.
  EXPECT_TRUE(IsTaken("vm"));
  const pid_t child = Fork([&] {
    close(pair[0]);
    msghdr received = message;
    if (recvmsg(pair[1], &received, MSG_CMSG_CLOEXEC) != 1) _exit(1);
    int mine;
    memcpy(&mine, CMSG_DATA(CMSG_FIRSTHDR(&received)), sizeof(mine));
    UniqueFd memfd = Memfd();
    _exit(Preserve(mine, memfd.get(), 1));
  });
  int status;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  EXPECT_FALSE(IsTaken("vm"));
  close(pair[0]);
  close(pair[1]);
}

TEST_F(DeviceFileTest, ThreadsWorkSideBySide) {
  std::atomic<int> errors = 0;
  std::vector<std::thread> threads;
  for (int t = 0; t < 4; ++t) {
    threads.emplace_back([&, t] {
      for (int i = 0; i < 25; ++i) {
        UniqueFd session;
        UniqueFd memfd = Memfd();
        errors += Create(device_.get(), "thread" + std::to_string(t), &session) != 0;
        errors += Preserve(session.get(), memfd.get(), 1) != 0;
        errors += Preserve(session.get(), memfd.get(), 2) != EBUSY;
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(errors, 0);
}

TEST_F(DeviceFileTest, SignalsDoNoHarm) {
  static std::atomic<int> signals;
  signals = 0;
  struct sigaction action = {};
  action.sa_handler = [](int) { ++signals; };
  action.sa_flags = SA_RESTART;
  ASSERT_EQ(sigaction(SIGALRM, &action, nullptr), 0);
  const itimerval often = {{0, 200}, {0, 200}};
  ASSERT_EQ(setitimer(ITIMER_REAL, &often, nullptr), 0);
  int calls = 0;
  // Until there were some, however fast the machine.
  while (calls < 200 || signals < 20) {
    UniqueFd session;
    UniqueFd memfd = Memfd();
    ASSERT_EQ(Create(device_.get(), "vm", &session), 0) << calls;
    ASSERT_EQ(Preserve(session.get(), memfd.get(), 1), 0) << calls;
    ++calls;
  }
  const itimerval never = {};
  setitimer(ITIMER_REAL, &never, nullptr);
}

TEST_F(DeviceFileTest, AKilledProcessLeavesNothing) {
  for (int i = 0; i < 30; ++i) {
    const pid_t child = Fork([&] {
      for (;;) {
        UniqueFd session, memfd = Memfd();
        Create(device_.get(), "killed", &session);
        Preserve(session.get(), memfd.get(), 1);
      }
    });
    std::this_thread::sleep_for(std::chrono::microseconds(300 * i));
    Kill(child);
    ASSERT_FALSE(IsTaken("killed")) << i;
  }
}

TEST_F(DeviceFileTest, TheDeviceOfAKilledProcessIsFree) {
  device_.Reset();
  int ready[2];
  ASSERT_EQ(pipe(ready), 0);
  const pid_t child = Fork([&] {
    UniqueFd device(open(kDevice, O_RDWR));
    if (write(ready[1], "", 1) == 1) pause();
  });
  char byte;
  ASSERT_EQ(read(ready[0], &byte, 1), 1);
  EXPECT_EQ(open(kDevice, O_RDWR), -1);
  EXPECT_EQ(errno, EBUSY);
  Kill(child);
  device_.Reset(open(kDevice, O_RDWR));
  EXPECT_TRUE(device_.valid());
  close(ready[0]);
  close(ready[1]);
}

TEST_F(DeviceFileTest, APreservedFileKeepsItsSizeInEveryWay) {
  UniqueFd session = Session("vm");
  UniqueFd memfd = Memfd(4 * kPage), empty = Memfd(0);
  ASSERT_EQ(Preserve(session.get(), memfd.get(), 1), 0);
  ASSERT_EQ(Preserve(session.get(), empty.get(), 2), 0);
  EXPECT_EQ(ftruncate(memfd.get(), 4 * kPage), 0);
  for (const off_t size : {off_t{0}, off_t{kPage}, off_t{8 * kPage}}) {
    EXPECT_EQ(ftruncate(memfd.get(), size), -1);
    EXPECT_EQ(errno, EPERM);
  }
  EXPECT_EQ(ftruncate(empty.get(), kPage), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(fallocate(memfd.get(), 0, 0, kPage), -1);
  EXPECT_EQ(errno, EPERM);
  EXPECT_EQ(fallocate(memfd.get(), FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 0, kPage), -1);
  EXPECT_EQ(errno, EPERM);
  // What one file may not do, others may.
  UniqueFd other = Memfd();
  EXPECT_EQ(ftruncate(other.get(), 0), 0);
  session.Reset();
  EXPECT_EQ(fallocate(memfd.get(), 0, 0, 8 * kPage), 0);
  EXPECT_EQ(ftruncate(empty.get(), kPage), 0);
}

// What user space cannot do: luo_kernel/hosted/README.md, "Limits".
TEST_F(DeviceFileTest, AWriteThatGrowsAPreservedFileIsRefusedByLinuxOnly) {
  UniqueFd session = Session("vm"), memfd = Memfd(kPage);
  ASSERT_EQ(Preserve(session.get(), memfd.get(), 1), 0);
  struct stat info;
  ASSERT_EQ(fstat(session.get(), &info), 0);
  const bool hosted = S_ISFIFO(info.st_mode);
  EXPECT_EQ(pwrite(memfd.get(), "x", 1, kPage - 1), 1);
  if (hosted) {
    // The next freeze fails: tests/hosted/luo_emulate_test.cc, AFailedFreezeIsUndone.
    EXPECT_EQ(pwrite(memfd.get(), "x", 1, kPage), 1);
  } else {
    EXPECT_EQ(pwrite(memfd.get(), "x", 1, kPage), -1);
    EXPECT_EQ(errno, EPERM);
  }
  session.Reset();
  EXPECT_EQ(pwrite(memfd.get(), "x", 1, 2 * kPage), 1);
}

TEST_F(DeviceFileTest, ASessionsLinkSaysItsName) {
  UniqueFd session = Session("vm-web1");
  char link[128] = {};
  const std::string path = "/proc/self/fd/" + std::to_string(session.get());
  ASSERT_GT(readlink(path.c_str(), link, sizeof(link) - 1), 0);
  EXPECT_STREQ(link, "anon_inode:[luo_session] vm-web1");
  ASSERT_EQ(readlink(path.c_str(), link, 4), 4);
  EXPECT_EQ(std::string(link, 4), "anon");
}

TEST_F(DeviceFileTest, ADescriptorsLinkOpensNothing) {
  UniqueFd session = Session("vm");
  const auto path = [](int fd) { return "/proc/self/fd/" + std::to_string(fd); };
  for (const int flags : {O_RDONLY, O_WRONLY, O_RDWR}) {
    EXPECT_EQ(open(path(session.get()).c_str(), flags), -1);
    EXPECT_EQ(errno, ENXIO);
    EXPECT_EQ(open(path(device_.get()).c_str(), flags), -1);
    EXPECT_EQ(errno, EBUSY);
  }
  UniqueFd memfd = Memfd();
  UniqueFd again(open(path(memfd.get()).c_str(), O_RDWR));
  EXPECT_TRUE(again.valid());
  session.Reset();
  EXPECT_FALSE(IsTaken("vm"));
}

}  // namespace
}  // namespace luo
