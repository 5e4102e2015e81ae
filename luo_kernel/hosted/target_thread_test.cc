#include "luo_kernel/hosted/target_thread.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <future>
#include <string>
#include <thread>

#include "base/status.h"

namespace luo {
namespace {

using ::vmm::StatusErrno;
using ::vmm::UniqueFd;

uint64_t Address(const void* pointer) { return reinterpret_cast<uint64_t>(pointer); }

// This process is the target: its own memory can be read and written as any other's.
TargetThread Self() { return TargetThread(static_cast<pid_t>(syscall(SYS_gettid))); }

class Pages {
 public:
  Pages() {
    bytes_ = static_cast<char*>(
        mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    EXPECT_NE(bytes_, MAP_FAILED);
    EXPECT_EQ(munmap(bytes_ + 4096, 4096), 0);
  }
  ~Pages() { munmap(bytes_, 4096); }
  char* end() { return bytes_ + 4096; }

 private:
  char* bytes_;
};

TEST(NormalisePathTest, TakesDotsAndSlashesOut) {
  EXPECT_EQ(NormalisePath("/dev/liveupdate"), "/dev/liveupdate");
  EXPECT_EQ(NormalisePath("//dev/./x/../liveupdate/"), "/dev/liveupdate");
  EXPECT_EQ(NormalisePath("/../../a"), "/a");
  EXPECT_EQ(NormalisePath("/"), "/");
  EXPECT_EQ(NormalisePath(""), "/");
}

TEST(TargetThreadTest, StringsEndWhereMemoryEnds) {
  Pages pages;
  strcpy(pages.end() - 6, "hello");
  EXPECT_EQ(*Self().ReadString(Address(pages.end() - 6), PATH_MAX), "hello");
  memset(pages.end() - 6, 'x', 6);
  EXPECT_EQ(StatusErrno(Self().ReadString(Address(pages.end() - 6), PATH_MAX).status()), EFAULT);
  EXPECT_EQ(StatusErrno(Self().ReadString(Address(pages.end() - 6), 4).status()), ENAMETOOLONG);
  EXPECT_EQ(StatusErrno(Self().ReadString(0, PATH_MAX).status()), EFAULT);
  EXPECT_EQ(StatusErrno(Self().ReadString(~uint64_t{0}, PATH_MAX).status()), EFAULT);
}

TEST(TargetThreadTest, MemoryIsReadAndWrittenWholeOrNotAtAll) {
  Pages pages;
  uint8_t bytes[8] = {};
  EXPECT_TRUE(Self().Read(Address(pages.end() - 8), absl::MakeSpan(bytes)).ok());
  EXPECT_EQ(StatusErrno(Self().Read(Address(pages.end() - 7), absl::MakeSpan(bytes))), EFAULT);
  EXPECT_EQ(StatusErrno(Self().Write(Address(pages.end() - 7), bytes)), EFAULT);
  ASSERT_EQ(mprotect(pages.end() - 4096, 4096, PROT_READ), 0);
  EXPECT_EQ(StatusErrno(Self().Write(Address(pages.end() - 8), bytes)), EFAULT);
}

TEST(TargetThreadTest, TakesTheOpenFileItself) {
  UniqueFd file(memfd_create("x", MFD_CLOEXEC));
  ASSERT_EQ(write(file.get(), "abc", 3), 3);
  absl::StatusOr<UniqueFd> taken = Self().TakeFd(file.get());
  ASSERT_TRUE(taken.ok()) << taken.status();
  EXPECT_EQ(lseek(taken->get(), 0, SEEK_CUR), 3);
  EXPECT_EQ(InodeOf(*Self().StatFd(file.get())), InodeOf(*Self().StatFd(taken->get())));
  for (int bad : {-1, 99999}) {
    EXPECT_EQ(StatusErrno(Self().TakeFd(bad).status()), EBADF);
    EXPECT_EQ(StatusErrno(Self().StatFd(bad).status()), EBADF);
  }
}

TEST(TargetThreadTest, ThreadsOfAProcessAreTargetsToo) {
  UniqueFd file(memfd_create("x", MFD_CLOEXEC));
  std::promise<pid_t> number;
  std::promise<void> done;
  std::thread thread([&] {
    number.set_value(static_cast<pid_t>(syscall(SYS_gettid)));
    done.get_future().wait();
  });
  const TargetThread target(number.get_future().get());
  EXPECT_TRUE(target.TakeFd(file.get()).ok());
  EXPECT_TRUE(target.StatFd(file.get()).ok());
  EXPECT_TRUE(target.NamesDevice(AT_FDCWD, "/dev/liveupdate"));
  done.set_value();
  thread.join();
}

TEST(TargetThreadTest, TellsTheDeviceFromOtherPaths) {
  char folder[] = "/tmp/target_thread_test.XXXXXX";
  ASSERT_NE(mkdtemp(folder), nullptr);
  const std::string link = std::string(folder) + "/link", dev = std::string(folder) + "/dev",
                    circle = std::string(folder) + "/circle",
                    relative = std::string(folder) + "/relative";
  ASSERT_EQ(symlink("/dev/liveupdate", link.c_str()), 0);
  ASSERT_EQ(symlink("/dev", dev.c_str()), 0);
  ASSERT_EQ(symlink(circle.c_str(), circle.c_str()), 0);
  ASSERT_EQ(symlink("../../dev/liveupdate", relative.c_str()), 0);
  UniqueFd dev_fd(open("/dev", O_PATH | O_CLOEXEC));
  const TargetThread self = Self();
  EXPECT_TRUE(self.NamesDevice(AT_FDCWD, "/dev/liveupdate"));
  EXPECT_TRUE(self.NamesDevice(AT_FDCWD, "/dev/liveupdate", false));
  EXPECT_TRUE(self.NamesDevice(dev_fd.get(), "liveupdate"));
  EXPECT_TRUE(self.NamesDevice(dev_fd.get(), "/dev/liveupdate"));
  EXPECT_TRUE(self.NamesDevice(AT_FDCWD, link));
  EXPECT_FALSE(self.NamesDevice(AT_FDCWD, link, false));
  EXPECT_TRUE(self.NamesDevice(AT_FDCWD, relative));
  EXPECT_TRUE(self.NamesDevice(AT_FDCWD, dev + "/liveupdate"));
  EXPECT_FALSE(self.NamesDevice(AT_FDCWD, circle));
  for (const char* path : {"", "/", "/dev", "/dev/liveupdate/", "/dev/liveupdate2", "/dev/null",
                           "liveupdate", "/tmp/liveupdate"}) {
    EXPECT_FALSE(self.NamesDevice(AT_FDCWD, path)) << path;
  }
  EXPECT_FALSE(self.NamesDevice(99999, "liveupdate"));
  for (const std::string& name : {link, dev, circle, relative}) unlink(name.c_str());
  rmdir(folder);
}

TEST(TargetThreadTest, FollowsTheLinksOfDescriptors) {
  UniqueFd file(memfd_create("x", MFD_CLOEXEC));
  const TargetThread self = Self();
  const Inode inode = InodeOf(*self.StatFd(file.get()));
  const std::string number = std::to_string(file.get());
  UniqueFd folder(open("/proc/self/fd", O_RDONLY | O_CLOEXEC));
  EXPECT_EQ(*self.FdLink(AT_FDCWD, "/proc/self/fd/" + number), inode);
  EXPECT_EQ(*self.FdLink(AT_FDCWD, "/dev/fd/" + number), inode);
  EXPECT_EQ(*self.FdLink(AT_FDCWD, "/proc/" + std::to_string(getpid()) + "/fd/" + number), inode);
  EXPECT_EQ(*self.FdLink(folder.get(), number), inode);
  EXPECT_EQ(StatusErrno(self.FdLink(AT_FDCWD, "/proc/self/exe").status()), ENOENT);
  EXPECT_FALSE(self.FdLink(AT_FDCWD, "/proc/self/fd/99999").ok());
}

}  // namespace
}  // namespace luo
