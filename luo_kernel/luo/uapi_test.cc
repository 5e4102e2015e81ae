#include "luo_kernel/luo/uapi.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/liveupdate.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>

#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/types/span.h"
#include "base/status.h"
#include "gtest/gtest.h"
#include "luo_kernel/luo/booting_machine.h"
#include "luo_kernel/luo/fake_handler.h"

namespace luo {
namespace {

using vmm::UniqueFd;

// A process: its descriptors, by number.
class FakeProcess : public FdPasser {
 public:
  absl::StatusOr<UniqueFd> Take(int number) override {
    const auto file = files.find(number);
    if (file == files.end()) return vmm::ErrnoStatus(EBADF, "take");
    return UniqueFd(fcntl(file->second.get(), F_DUPFD_CLOEXEC, 0));
  }
  absl::StatusOr<int> Install(UniqueFd file) override {
    if (full) return vmm::ErrnoStatus(EMFILE, "install");
    files[next] = std::move(file);
    return next++;
  }
  absl::StatusOr<int> Install(std::unique_ptr<SessionFile> session) override {
    if (full) return vmm::ErrnoStatus(EMFILE, "install");
    sessions[next] = std::move(session);
    return next++;
  }

  std::map<int, UniqueFd> files;
  std::map<int, std::unique_ptr<SessionFile>> sessions;
  int next = 3;
  bool full = false;
};

template <typename T>
absl::Span<uint8_t> Bytes(T& value) {
  return absl::MakeSpan(reinterpret_cast<uint8_t*>(&value), sizeof(value));
}

class UapiTest : public testing::Test {
 protected:
  void SetUp() override {
    machine_.on_boot = [this](BootingMachine& machine) {
      handler_ = std::make_shared<FakeHandler>("fake-v1", machine, &faults_);
      ASSERT_EQ(machine.luo().RegisterFileHandler(handler_), absl::OkStatus());
    };
    machine_.PowerOn();
    OpenDevice();
  }
  void OpenDevice() {
    device_.reset();
    absl::StatusOr<std::unique_ptr<DeviceFile>> device = DeviceFile::Open(machine_.shared_luo());
    ASSERT_TRUE(device.ok()) << device.status();
    device_ = *std::move(device);
  }
  void Kexec() {
    ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
    process_ = FakeProcess();
    OpenDevice();
  }

  template <typename T>
  int Device(uint32_t command, T& argument) {
    return device_->Ioctl(command, Bytes(argument), process_);
  }
  template <typename T>
  int OnSession(int fd, uint32_t command, T& argument) {
    return process_.sessions.at(fd)->Ioctl(command, Bytes(argument), process_);
  }

  liveupdate_ioctl_create_session Name(const std::string& name) {
    liveupdate_ioctl_create_session argument = {};
    argument.size = sizeof(argument);
    memcpy(argument.name, name.data(), std::min(name.size(), sizeof(argument.name)));
    return argument;
  }
  int Create(const std::string& name) {
    auto argument = Name(name);
    const int error = Device(LIVEUPDATE_IOCTL_CREATE_SESSION, argument);
    return error == 0 ? argument.fd : -error;
  }
  int Retrieve(const std::string& name) {
    auto argument = Name(name);
    const int error = Device(LIVEUPDATE_IOCTL_RETRIEVE_SESSION, argument);
    return error == 0 ? argument.fd : -error;
  }
  int PreserveFd(int session, int fd, uint64_t token) {
    liveupdate_session_preserve_fd argument = {sizeof(argument), fd, token};
    return OnSession(session, LIVEUPDATE_SESSION_PRESERVE_FD, argument);
  }
  int RetrieveFd(int session, uint64_t token) {
    liveupdate_session_retrieve_fd argument = {sizeof(argument), -1, token};
    const int error = OnSession(session, LIVEUPDATE_SESSION_RETRIEVE_FD, argument);
    return error == 0 ? argument.fd : -error;
  }
  int Finish(int session, uint32_t reserved = 0) {
    liveupdate_session_finish argument = {sizeof(argument), reserved};
    return OnSession(session, LIVEUPDATE_SESSION_FINISH, argument);
  }
  int AddFile(uint64_t number) { return *process_.Install(NumberFile(number)); }

  Faults faults_;
  BootingMachine machine_;
  std::shared_ptr<FakeHandler> handler_;
  std::unique_ptr<DeviceFile> device_;
  FakeProcess process_;
};

TEST_F(UapiTest, AFileGoesThroughByIoctlsAlone) {
  const int session = Create("web1");
  ASSERT_GE(session, 0);
  ASSERT_EQ(PreserveFd(session, AddFile(4711), 5), 0);
  Kexec();
  const int again = Retrieve("web1");
  ASSERT_GE(again, 0);
  const int file = RetrieveFd(again, 5);
  ASSERT_GE(file, 0);
  EXPECT_EQ(NumberIn(process_.files.at(file).get()), 4711u);
  EXPECT_EQ(Finish(again), 0);
}

TEST_F(UapiTest, ALastCloseEndsTheSession) {
  const int session = Create("web1");
  ASSERT_EQ(PreserveFd(session, AddFile(1), 5), 0);
  faults_.log.clear();
  process_.sessions.clear();
  EXPECT_EQ(faults_.log, std::vector<std::string>{"unpreserve 1"});
  EXPECT_GE(Create("web1"), 0);
}

TEST_F(UapiTest, TheDeviceIsOpenOnceAtATime) {
  EXPECT_EQ(IoctlErrno(DeviceFile::Open(machine_.shared_luo()).status()), EBUSY);
  OpenDevice();
}

TEST_F(UapiTest, TheDeviceCannotBeOpenedOnWhatNobodyKnows) {
  ASSERT_EQ(PreserveFd(Create("web1"), AddFile(1), 5), 0);
  machine_.on_boot = [](BootingMachine&) {};
  ASSERT_EQ(machine_.Kexec(), absl::OkStatus());
  EXPECT_EQ(IoctlErrno(DeviceFile::Open(machine_.shared_luo()).status()), EIO);
  EXPECT_EQ(IoctlErrno(DeviceFile::Open(machine_.shared_luo()).status()), EIO);
}

TEST_F(UapiTest, SessionErrors) {
  EXPECT_EQ(Create(""), -EINVAL);
  EXPECT_EQ(Create(std::string(64, 'n')), -EINVAL);
  EXPECT_GE(Create(std::string(63, 'n')), 0);
  EXPECT_EQ(Create(std::string(63, 'n')), -EEXIST);
  EXPECT_EQ(Retrieve("none"), -ENOENT);
  process_.full = true;
  EXPECT_EQ(Create("m"), -EMFILE);
  process_.full = false;
  EXPECT_GE(Create("m"), 0);
}

TEST_F(UapiTest, FileErrorsOfAnOutgoingSession) {
  const int session = Create("web1");
  const int file = AddFile(1);
  EXPECT_EQ(PreserveFd(session, file, 5), 0);
  EXPECT_EQ(PreserveFd(session, AddFile(2), 5), EEXIST);
  EXPECT_EQ(PreserveFd(session, 999, 5), EEXIST);
  EXPECT_EQ(PreserveFd(session, 999, 6), EBADF);
  EXPECT_EQ(PreserveFd(session, file, 6), EBUSY);
  EXPECT_EQ(PreserveFd(session, *process_.Install(UniqueFd(eventfd(0, EFD_CLOEXEC))), 6), ENOENT);
  faults_.fail_at = faults_.calls;
  faults_.error = EFBIG;
  EXPECT_EQ(PreserveFd(session, AddFile(3), 6), EFBIG);
  EXPECT_EQ(RetrieveFd(session, 5), -EINVAL);
  EXPECT_EQ(Finish(session), EINVAL);
}

TEST_F(UapiTest, FileErrorsOfARetrievedSession) {
  const int out = Create("web1");
  ASSERT_EQ(PreserveFd(out, AddFile(1), 5), 0);
  ASSERT_EQ(PreserveFd(out, AddFile(2), 6), 0);
  Kexec();
  const int session = Retrieve("web1");
  EXPECT_EQ(Retrieve("web1"), -EINVAL);
  EXPECT_EQ(PreserveFd(session, AddFile(2), 7), EINVAL);
  EXPECT_EQ(RetrieveFd(session, 7), -ENOENT);
  faults_.fail_at = faults_.calls;
  EXPECT_EQ(RetrieveFd(session, 6), -EIO);
  EXPECT_EQ(RetrieveFd(session, 6), -EIO);
  const int file = RetrieveFd(session, 5);
  ASSERT_GE(file, 0);
  EXPECT_EQ(PreserveFd(Create("web2"), file, 1), EBUSY);
  EXPECT_EQ(Finish(session, 1), EINVAL);
  handler_->can_finish = false;
  EXPECT_EQ(Finish(session), EBUSY);
  handler_->can_finish = true;
  EXPECT_EQ(Finish(session), 0);
  EXPECT_EQ(Finish(session), 0);
  EXPECT_EQ(RetrieveFd(session, 5), -ENOENT);
}

TEST_F(UapiTest, WithoutRoomForADescriptorNothingIsLost) {
  ASSERT_EQ(PreserveFd(Create("web1"), AddFile(1), 5), 0);
  Kexec();
  process_.full = true;
  EXPECT_EQ(Retrieve("web1"), -EMFILE);
  process_.full = false;
  const int session = Retrieve("web1");
  ASSERT_GE(session, 0);
  process_.full = true;
  EXPECT_EQ(RetrieveFd(session, 5), -EMFILE);
  process_.full = false;
  EXPECT_GE(RetrieveFd(session, 5), 0);
}

TEST_F(UapiTest, SaysTheName) {
  const int session = Create(std::string(63, 'n'));
  liveupdate_session_get_name argument = {sizeof(argument), 0, {}};
  EXPECT_EQ(OnSession(session, LIVEUPDATE_SESSION_GET_NAME, argument), 0);
  EXPECT_EQ(std::string(reinterpret_cast<char*>(argument.name)), std::string(63, 'n'));
  argument.reserved = 1;
  EXPECT_EQ(OnSession(session, LIVEUPDATE_SESSION_GET_NAME, argument), EINVAL);
  Kexec();
  argument.reserved = 0;
  EXPECT_EQ(OnSession(Retrieve(std::string(63, 'n')), LIVEUPDATE_SESSION_GET_NAME, argument), 0);
}

TEST_F(UapiTest, AfterTheKexecBeganEverythingIsShutDown) {
  const int session = Create("web1");
  ASSERT_EQ(machine_.luo().Reboot(), absl::OkStatus());
  EXPECT_EQ(Create("web2"), -ESHUTDOWN);
  EXPECT_EQ(PreserveFd(session, AddFile(1), 5), ESHUTDOWN);
}

// --- Sizes of structures. ---

TEST_F(UapiTest, AStructureThatIsTooSmallIsInvalid) {
  auto argument = Name("a");
  for (uint32_t size : {0u, 4u, 71u}) {
    argument.size = size;
    EXPECT_EQ(Device(LIVEUPDATE_IOCTL_CREATE_SESSION, argument), EINVAL) << size;
  }
  const int session = Create("a");
  liveupdate_session_preserve_fd preserve = {15, 0, 0};
  EXPECT_EQ(OnSession(session, LIVEUPDATE_SESSION_PRESERVE_FD, preserve), EINVAL);
  liveupdate_session_get_name name = {71, 0, {}};
  EXPECT_EQ(OnSession(session, LIVEUPDATE_SESSION_GET_NAME, name), EINVAL);
  Kexec();
}

TEST_F(UapiTest, ALargerStructureHasToBeZeroWhereItIsUnknown) {
  struct {
    liveupdate_ioctl_create_session known;
    uint8_t unknown[128];
  } large = {Name("a"), {}};
  large.known.size = sizeof(large);
  large.unknown[127] = 1;
  EXPECT_EQ(Device(LIVEUPDATE_IOCTL_CREATE_SESSION, large), E2BIG);
  large.unknown[127] = 0;
  EXPECT_EQ(Device(LIVEUPDATE_IOCTL_CREATE_SESSION, large), 0);
  EXPECT_GE(large.known.fd, 0);
  EXPECT_EQ(large.known.size, sizeof(large));
}

TEST_F(UapiTest, BytesThatAreNotThereAreAFault) {
  auto argument = Name("a");
  const absl::Span<uint8_t> bytes = Bytes(argument);
  for (size_t size : {0u, 3u, 4u, 71u}) {
    EXPECT_EQ(device_->Ioctl(LIVEUPDATE_IOCTL_CREATE_SESSION, bytes.first(size), process_), EFAULT)
        << size;
  }
  argument.size = kMaxIoctlBytes + 1;
  EXPECT_EQ(device_->Ioctl(LIVEUPDATE_IOCTL_CREATE_SESSION, bytes, process_), E2BIG);
  EXPECT_EQ(IoctlBytes(0), 4u);
  EXPECT_EQ(IoctlBytes(72), 72u);
  EXPECT_EQ(IoctlBytes(0xffffffff), kMaxIoctlBytes);
}

TEST_F(UapiTest, CommandsOfOthersAreRefusedAsLinuxDoes) {
  auto argument = Name("a");
  // The number is the device's, the rest is not.
  EXPECT_EQ(Device(_IO('T', LIVEUPDATE_CMD_CREATE_SESSION), argument), ENOTTY);
  EXPECT_EQ(Device(_IOWR(0xBA, LIVEUPDATE_CMD_CREATE_SESSION, int), argument), ENOTTY);
  // The number is nobody's, or a session's.
  EXPECT_EQ(Device(_IO(0xBA, 2), argument), EINVAL);
  EXPECT_EQ(Device(LIVEUPDATE_SESSION_FINISH, argument), EINVAL);
  const int session = Create("a");
  EXPECT_EQ(OnSession(session, _IO('T', LIVEUPDATE_CMD_SESSION_FINISH), argument), ENOTTY);
  EXPECT_EQ(OnSession(session, _IO(0xBA, 0x44), argument), EINVAL);
  EXPECT_EQ(OnSession(session, LIVEUPDATE_IOCTL_CREATE_SESSION, argument), EINVAL);
}

TEST_F(UapiTest, TheDirectionIsCheckedBeforeTheSize) {
  const int session = Create("a");
  liveupdate_session_finish finish = {0, 0};
  EXPECT_EQ(OnSession(session, LIVEUPDATE_SESSION_FINISH, finish), EINVAL);
  EXPECT_EQ(PreserveFd(session, AddFile(1), 1), 0);
  EXPECT_EQ(machine_.luo().sessions().at(0).files, 1u);
}

TEST(IoctlErrnoTest, EveryStatusHasOne) {
  EXPECT_EQ(IoctlErrno(absl::OkStatus()), 0);
  EXPECT_EQ(IoctlErrno(vmm::ErrnoStatus(EMLINK, "x")), EMLINK);
  for (int code = 1; code <= 16; ++code) {
    EXPECT_GT(IoctlErrno(absl::Status(static_cast<absl::StatusCode>(code), "x")), 0) << code;
  }
}

}  // namespace
}  // namespace luo
