#include "vmm/state/state_memfd.h"

#include <errno.h>
#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <string>
#include <vector>

#include "base/status.h"
#include "vmm/state/state_frame.h"
#include "vmm/state/state_schema.h"

namespace vmm {
namespace {

using ::testing::HasSubstr;

Tree Sample() {
  Tree root;
  root.SetString("compatible", kMachineCompatible);
  Tree& vcpu = root.AddChild(Tree("vcpu@0"));
  vcpu.SetBytes("registers", std::vector<uint8_t>(500, 0x5a));
  root.AddChild(Tree("clock")).SetU64("nanoseconds", 12345);
  return root;
}

UniqueFd Written() {
  auto fd = WriteStateMemfd(Sample());
  EXPECT_TRUE(fd.ok()) << fd.status();
  return fd.ok() ? *std::move(fd) : UniqueFd();
}

size_t SizeOf(const UniqueFd& fd) {
  struct stat info = {};
  EXPECT_EQ(fstat(fd.get(), &info), 0);
  return info.st_size;
}

void Flip(const UniqueFd& fd, off_t offset) {
  uint8_t byte = 0;
  ASSERT_EQ(pread(fd.get(), &byte, 1, offset), 1);
  byte ^= 0xff;
  ASSERT_EQ(pwrite(fd.get(), &byte, 1, offset), 1);
}

UniqueFd MemfdOf(const std::string& content) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC));
  EXPECT_EQ(write(fd.get(), content.data(), content.size()), static_cast<ssize_t>(content.size()));
  return fd;
}

TEST(StateMemfdTest, RoundTrips) {
  UniqueFd fd = Written();
  auto state = ReadStateMemfd(fd.get());
  ASSERT_TRUE(state.ok()) << state.status();
  auto clock = state->Child("clock");
  ASSERT_TRUE(clock.ok()) << clock.status();
  EXPECT_EQ(*(*clock)->GetU64("nanoseconds"), 12345u);
  EXPECT_EQ((*state->Child("vcpu@0"))->GetBytes("registers")->size(), 500u);
}

TEST(StateMemfdTest, ReadingLeavesTheFileAndItsPositionAlone) {
  UniqueFd fd = Written();
  EXPECT_TRUE(ReadStateMemfd(fd.get()).ok());
  EXPECT_TRUE(ReadStateMemfd(fd.get()).ok());
  EXPECT_EQ(lseek(fd.get(), 0, SEEK_CUR), 0);
}

TEST(StateMemfdTest, IsSealedButWritable) {
  UniqueFd fd = Written();
  int seals = fcntl(fd.get(), F_GET_SEALS);
  EXPECT_EQ(seals, F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL);
  EXPECT_EQ(ftruncate(fd.get(), 0), -1);
  EXPECT_EQ(fcntl(fd.get(), F_GETFD), FD_CLOEXEC);
}

TEST(StateMemfdTest, RefusesToWriteAStateWithoutSchema) {
  EXPECT_EQ(WriteStateMemfd(Tree()).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(StateMemfdTest, RefusesToWriteAStateTooLarge) {
  Tree state = Sample();
  state.SetBytes("blob", std::vector<uint8_t>(kMaxTreeBytes));
  EXPECT_EQ(WriteStateMemfd(state).status().code(), absl::StatusCode::kInvalidArgument);
}

TEST(StateMemfdTest, EveryChangedByteIsRefused) {
  UniqueFd fd = Written();
  for (size_t offset = 0; offset < SizeOf(fd); ++offset) {
    Flip(fd, offset);
    EXPECT_FALSE(ReadStateMemfd(fd.get()).ok()) << offset;
    Flip(fd, offset);
  }
  EXPECT_TRUE(ReadStateMemfd(fd.get()).ok());
}

TEST(StateMemfdTest, RefusesWhatIsNoState) {
  EXPECT_EQ(StatusErrno(ReadStateMemfd(-1).status()), EBADF);
  EXPECT_FALSE(ReadStateMemfd(MemfdOf("").get()).ok());
  EXPECT_FALSE(ReadStateMemfd(MemfdOf(std::string(4096, 'x')).get()).ok());
  int ends[2];
  ASSERT_EQ(pipe2(ends, O_CLOEXEC), 0);
  UniqueFd read_end(ends[0]), write_end(ends[1]);
  EXPECT_THAT(std::string(ReadStateMemfd(read_end.get()).status().message()), HasSubstr("memfd"));
}

TEST(StateMemfdTest, RefusesAHugeFileWithoutReadingIt) {
  UniqueFd fd(memfd_create("test", MFD_CLOEXEC));
  ASSERT_EQ(ftruncate(fd.get(), off_t{1} << 50), 0);
  EXPECT_THAT(std::string(ReadStateMemfd(fd.get()).status().message()), HasSubstr("at most"));
}

TEST(StateMemfdTest, RefusesAWellFramedPayloadThatIsNoTreeOrOfAnotherSchema) {
  std::vector<uint8_t> garbage = FrameState(std::vector<uint8_t>(100, 7));
  EXPECT_FALSE(ReadStateMemfd(MemfdOf(std::string(garbage.begin(), garbage.end())).get()).ok());

  Tree other;
  other.SetString("compatible", "vmm,machine-v9");
  std::vector<uint8_t> newer = FrameState(*EncodeTree(other));
  EXPECT_EQ(ReadStateMemfd(MemfdOf(std::string(newer.begin(), newer.end())).get()).status().code(),
            absl::StatusCode::kUnimplemented);
}

TEST(StateMemfdTest, AConsumedStateIsRefusedForGood) {
  UniqueFd fd = Written();
  absl::Status marked = MarkConsumed(fd.get());
  ASSERT_TRUE(marked.ok()) << marked;
  EXPECT_EQ(ReadStateMemfd(fd.get()).status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_EQ(MarkConsumed(fd.get()).code(), absl::StatusCode::kFailedPrecondition);
  // Another holder of the memfd sees it too.
  UniqueFd other(fcntl(fd.get(), F_DUPFD_CLOEXEC, 0));
  fd.Reset();
  EXPECT_EQ(ReadStateMemfd(other.get()).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(StateMemfdTest, MarkConsumedRefusesWhatItCannotMark) {
  EXPECT_EQ(StatusErrno(MarkConsumed(-1)), EBADF);
  EXPECT_FALSE(MarkConsumed(MemfdOf("").get()).ok());
  UniqueFd read_only(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
  EXPECT_FALSE(MarkConsumed(read_only.get()).ok());
}

// Of many processes that share one open file and race for the mark, exactly one may run the guest.
TEST(StateMemfdTest, OneOfManyProcessesWinsTheMark) {
  constexpr int kProcesses = 8;
  UniqueFd fd = Written();
  int gate[2];
  ASSERT_EQ(pipe2(gate, O_CLOEXEC), 0);
  UniqueFd wait_end(gate[0]), open_end(gate[1]);
  for (int i = 0; i < kProcesses; ++i) {
    pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      char byte;
      open_end.Reset();
      (void)!read(wait_end.get(), &byte, 1);
      _exit(MarkConsumed(fd.get()).ok() ? 1 : 0);
    }
  }
  open_end.Reset();
  int winners = 0;
  for (int i = 0; i < kProcesses; ++i) {
    int status = 0;
    ASSERT_GT(wait(&status), 0);
    ASSERT_TRUE(WIFEXITED(status));
    winners += WEXITSTATUS(status);
  }
  EXPECT_EQ(winners, 1);
}

}  // namespace
}  // namespace vmm
