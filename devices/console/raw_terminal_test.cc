#include "devices/console/raw_terminal.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <optional>

#include "devices/console/test_support.h"

namespace vmm {
namespace {

termios Settings(int fd) {
  termios settings = {};
  EXPECT_EQ(tcgetattr(fd, &settings), 0);
  return settings;
}

TEST(RawTerminalTest, IsRawAsLongAsItLives) {
  FdPair pty = MakePty();
  const termios before = Settings(pty.write.get());
  ASSERT_TRUE(before.c_lflag & ICANON);
  {
    auto terminal = RawTerminal::Enter(pty.write.get());
    ASSERT_TRUE(terminal.ok()) << terminal.status();
    std::optional<RawTerminal> moved(*std::move(terminal));
    const termios raw = Settings(pty.write.get());
    EXPECT_EQ(raw.c_lflag & (ICANON | ECHO | ISIG), 0u);
    EXPECT_EQ(raw.c_iflag & (ICRNL | IXON), 0u);
    EXPECT_TRUE(raw.c_oflag & OPOST);
  }
  const termios after = Settings(pty.write.get());
  EXPECT_EQ(after.c_lflag, before.c_lflag);
  EXPECT_EQ(after.c_iflag, before.c_iflag);
}

TEST(RawTerminalTest, RestoresThoughTheCallersDescriptorIsClosed) {
  FdPair pty = MakePty();
  {
    auto terminal = RawTerminal::Enter(pty.write.get());
    ASSERT_TRUE(terminal.ok()) << terminal.status();
    pty.write.Reset();
  }
  EXPECT_TRUE(Settings(pty.read.get()).c_lflag & ICANON);
}

TEST(RawTerminalTest, RestoresAtExitWhenLeftBehind) {
  FdPair pty = MakePty();
  const auto leave = [&pty] {
    auto terminal = RawTerminal::Enter(pty.write.get());
    exit(terminal.ok() && !(Settings(pty.write.get()).c_lflag & ICANON) ? 0 : 1);
  };
  EXPECT_EXIT(leave(), ::testing::ExitedWithCode(0), "");
  EXPECT_TRUE(Settings(pty.write.get()).c_lflag & ICANON);
}

TEST(RawTerminalTest, OnlyOneAtATime) {
  FdPair pty = MakePty();
  {
    auto first = RawTerminal::Enter(pty.write.get());
    ASSERT_TRUE(first.ok()) << first.status();
    EXPECT_EQ(RawTerminal::Enter(pty.write.get()).status().code(),
              absl::StatusCode::kFailedPrecondition);
    EXPECT_FALSE(Settings(pty.write.get()).c_lflag & ICANON) << "the refusal restored it";
  }
  EXPECT_TRUE(RawTerminal::Enter(pty.write.get()).ok());
}

TEST(RawTerminalTest, RefusesWhatIsNoTerminal) {
  FdPair pipe = MakePipe();
  EXPECT_EQ(RawTerminal::Enter(pipe.read.get()).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_FALSE(RawTerminal::Enter(-1).ok());
  FdPair pty = MakePty();
  EXPECT_TRUE(RawTerminal::Enter(pty.write.get()).ok()) << "a refusal takes no place";
}

}  // namespace
}  // namespace vmm
