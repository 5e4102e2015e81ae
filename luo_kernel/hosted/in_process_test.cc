#include "luo_kernel/hosted/in_process.h"

#include <errno.h>
#include <fcntl.h>
#include <gtest/gtest.h>
#include <linux/reboot.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <functional>
#include <initializer_list>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/client/kernel_live_update.h"

namespace luo {
namespace {

using ::vmm::StatusErrno;
using ::vmm::UniqueFd;

class HostedLiveUpdateTest : public ::testing::Test {
 protected:
  void SetUp() override {
    absl::StatusOr<std::unique_ptr<HostedLiveUpdate>> luo = HostedLiveUpdate::Create();
    ASSERT_TRUE(luo.ok()) << luo.status();
    luo_ = *std::move(luo);
    const absl::Status ran = luo_->Run([] {});
    if (!ran.ok()) GTEST_SKIP() << ran;
  }

  void Run(const std::function<void(LiveUpdateClient&)>& body) {
    const absl::Status ran = luo_->Run([&] {
      auto client = KernelLiveUpdate::Open();
      ASSERT_TRUE(client.ok()) << client.status();
      body(**client);
    });
    EXPECT_TRUE(ran.ok()) << ran;
  }

  std::unique_ptr<HostedLiveUpdate> luo_;
};

TEST_F(HostedLiveUpdateTest, AClientGoesThroughAKexec) {
  std::optional<LiveUpdateSession> session;
  UniqueFd memfd(memfd_create("x", MFD_CLOEXEC));
  ASSERT_EQ(write(memfd.get(), "hello", 5), 5);
  Run([&](LiveUpdateClient& client) {
    session = *client.CreateSession("vm");
    EXPECT_TRUE(session->PreserveFd(memfd.get(), 1).ok());
  });
  memfd.Reset();
  const absl::Status kexec = luo_->Kexec();
  ASSERT_TRUE(kexec.ok()) << kexec;
  Run([&](LiveUpdateClient& client) {
    EXPECT_EQ(StatusErrno(session->Name().status()), ENOTTY) << "of the kernel before";
    absl::StatusOr<LiveUpdateSession> retrieved = client.RetrieveSession("vm");
    ASSERT_TRUE(retrieved.ok()) << retrieved.status();
    absl::StatusOr<UniqueFd> file = retrieved->RetrieveFd(1);
    ASSERT_TRUE(file.ok()) << file.status();
    char text[6] = {};
    EXPECT_EQ(pread(file->get(), text, 5, 0), 5);
    EXPECT_STREQ(text, "hello");
    EXPECT_TRUE(retrieved->Finish().ok());
  });
}

TEST_F(HostedLiveUpdateTest, AFailedFreezeLeavesSessionsOpen) {
  std::optional<LiveUpdateSession> session;
  UniqueFd memfd(memfd_create("x", MFD_CLOEXEC));
  Run([&](LiveUpdateClient& client) {
    session = *client.CreateSession("vm");
    EXPECT_TRUE(session->PreserveFd(memfd.get(), 1).ok());
    EXPECT_EQ(ftruncate(memfd.get(), 4096), -1);
    EXPECT_EQ(pwrite(memfd.get(), "x", 1, 4096), 1);
  });
  EXPECT_EQ(StatusErrno(luo_->Kexec()), EPERM);
  Run([&](LiveUpdateClient& client) {
    EXPECT_EQ(*session->Name(), "vm");
    session.reset();
    EXPECT_TRUE(client.CreateSession("vm").ok());
  });
  EXPECT_TRUE(luo_->Kexec().ok());
}

TEST_F(HostedLiveUpdateTest, SessionsClosedOutsideOfRunAreClosed) {
  std::optional<LiveUpdateSession> session;
  Run([&](LiveUpdateClient& client) { session = *client.CreateSession("vm"); });
  session.reset();
  ASSERT_TRUE(luo_->Kexec().ok());
  Run([&](LiveUpdateClient& client) {
    EXPECT_EQ(StatusErrno(client.RetrieveSession("vm").status()), ENOENT);
  });
}

TEST_F(HostedLiveUpdateTest, NobodyRebootsByHimself) {
  Run([&](LiveUpdateClient&) {
    for (const uint32_t command :
         std::initializer_list<uint32_t>{LINUX_REBOOT_CMD_KEXEC, LINUX_REBOOT_CMD_RESTART,
                                         LINUX_REBOOT_CMD_HALT, LINUX_REBOOT_CMD_POWER_OFF}) {
      EXPECT_EQ(syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2, command, nullptr),
                -1);
      EXPECT_EQ(errno, EPERM);
    }
  });
}

}  // namespace
}  // namespace luo
