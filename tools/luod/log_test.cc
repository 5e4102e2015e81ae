#include "tools/luod/log.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <string>

#include "base/unique_fd.h"

namespace vmm {
namespace {

struct Pipe {
  Pipe() {
    int fds[2];
    EXPECT_EQ(pipe2(fds, O_CLOEXEC), 0);
    out.Reset(fds[0]);
    in.Reset(fds[1]);
  }
  std::string Read() {
    std::string text(1 << 20, '\0');
    const ssize_t length = read(out.get(), text.data(), text.size());
    text.resize(length < 0 ? 0 : length);
    return text;
  }
  UniqueFd out, in;
};

TEST(LineLogTest, WritesALineATime) {
  Pipe pipe;
  LineLog log(pipe.in.get());
  log.Write("one");
  log.Write("two");
  EXPECT_EQ(pipe.Read(), "luod: one\nluod: two\n");
}

TEST(LineLogTest, AFullPipeIsNotWaitedForAndLossesAreCounted) {
  Pipe pipe;
  LineLog log(pipe.in.get());
  const std::string line(1000, 'x');
  for (int i = 0; i < 1000; ++i) log.Write(line);  // a pipe holds 64 KiB
  pipe.Read();
  log.Write("room again");
  EXPECT_THAT(pipe.Read(),
              testing::MatchesRegex("luod: \\([0-9]+ lines were not taken\\) room again\n"));
  log.Write("and as ever");
  EXPECT_EQ(pipe.Read(), "luod: and as ever\n");
}

TEST(LineLogTest, ALongLineIsCut) {
  Pipe pipe;
  LineLog log(pipe.in.get());
  log.Write(std::string(100'000, 'x'));
  const std::string text = pipe.Read();
  EXPECT_EQ(text.size(), 4096u);
  EXPECT_EQ(text.back(), '\n');
}

TEST(LineLogTest, AReaderThatIsGoneHarmsNobody) {
  // As luod itself has it.
  signal(SIGPIPE, SIG_IGN);
  Pipe pipe;
  LineLog log(pipe.in.get());
  pipe.out.Reset();
  log.Write("into the void");
  LineLog closed(-1);
  closed.Write("nowhere");
}

}  // namespace
}  // namespace vmm
