#include "devices/console/console.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <fstream>
#include <mutex>
#include <string>
#include <thread>

#include "devices/console/test_support.h"
#include "devices/legacy/serial16550.h"

namespace vmm {
namespace {

void Print(Console& console, const std::string& text) {
  console.Write({reinterpret_cast<const uint8_t*>(text.data()), text.size()});
}

// A guest that takes what `room` allows and keeps it.
class FakeGuest {
 public:
  Console::Handlers handlers() {
    return {.input = [this](absl::Span<const uint8_t> bytes) { return Take(bytes); },
            .quit = [this] { quit = true; }};
  }
  std::string text() {
    std::lock_guard<std::mutex> lock(mutex_);
    return text_;
  }
  void set_room(size_t room) {
    std::lock_guard<std::mutex> lock(mutex_);
    room_ = room;
  }

  std::atomic<bool> quit = false;

 private:
  size_t Take(absl::Span<const uint8_t> bytes) {
    std::lock_guard<std::mutex> lock(mutex_);
    const size_t taken = std::min(room_, bytes.size());
    text_.append(bytes.begin(), bytes.begin() + taken);
    room_ -= taken;
    return taken;
  }

  std::mutex mutex_;
  std::string text_;
  size_t room_ = 1 << 20;
};

class ConsoleTest : public ::testing::Test {
 protected:
  // A console of the two pipes, as of a VMM in a pipeline.
  void OpenPipes() {
    auto endpoint = OpenTtyEndpoint(in_.read.get(), out_.write.get());
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    Create(*std::move(endpoint));
    in_.read.Reset();
    out_.write.Reset();
  }
  void Create(ConsoleEndpoint endpoint) {
    auto console = Console::Create(std::move(endpoint));
    ASSERT_TRUE(console.ok()) << console.status();
    console_ = *std::move(console);
  }
  void Start() { EXPECT_EQ(console_->Start(guest_.handlers()), absl::OkStatus()); }

  FakeGuest guest_;
  FdPair in_ = MakePipe();
  FdPair out_ = MakePipe();
  std::unique_ptr<Console> console_;
};

TEST_F(ConsoleTest, CarriesOutputAndInput) {
  OpenPipes();
  Start();
  Print(*console_, "login: ");
  EXPECT_EQ(ReadBytes(out_.read.get(), 7), "login: ");
  WriteAll(in_.write.get(), "root\n");
  EXPECT_TRUE(Eventually([&] { return guest_.text() == "root\n"; }));
}

TEST_F(ConsoleTest, BytesOfABatchGoOutTogether) {
  // Each write is a message of its own on such a socket.
  FdPair out = MakeSocketPair(SOCK_SEQPACKET);
  auto endpoint = OpenTtyEndpoint(in_.read.get(), out.write.get());
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  Create(*std::move(endpoint));
  for (int i = 0; i < 3000; ++i) Print(*console_, "x");
  Start();
  char buffer[8192];
  EXPECT_EQ(read(out.read.get(), buffer, sizeof(buffer)), 3000);
}

TEST_F(ConsoleTest, AReaderWhoStopsNeverHoldsUpTheGuest) {
  OpenPipes();
  Start();
  const std::string kilobyte(1024, 'x');
  for (int i = 0; i < 2048; ++i) Print(*console_, kilobyte);
  Print(*console_, "the end");
  EXPECT_EQ(console_->Flush(absl::Milliseconds(50)).code(), absl::StatusCode::kDeadlineExceeded);

  std::string text;
  std::thread reader([&] { text = ReadToEnd(out_.read.get()); });
  EXPECT_TRUE(console_->Flush(absl::Seconds(20)).ok());
  console_.reset();
  reader.join();
  EXPECT_GE(text.size(), size_t{256} << 10) << "less than the queue holds";
  EXPECT_LT(text.size(), size_t{1} << 20) << "the queue has no bound";
  EXPECT_EQ(text.substr(text.size() - 7), "the end") << "it is the oldest that goes";
}

TEST_F(ConsoleTest, FlushWaitsForEverythingWritten) {
  OpenPipes();
  Start();
  std::string expected;
  for (int i = 0; i < 50; ++i) {
    const std::string line = "line " + std::to_string(i) + "\n";
    Print(*console_, line);
    ASSERT_TRUE(console_->Flush(absl::Seconds(20)).ok());
    EXPECT_EQ(ReadBytes(out_.read.get(), line.size()), line);
  }
  EXPECT_TRUE(console_->Flush(absl::ZeroDuration()).ok()) << "nothing is left to flush";
}

TEST_F(ConsoleTest, FlushOfAConsoleThatDoesNotRun) {
  OpenPipes();
  EXPECT_TRUE(console_->Flush(absl::Seconds(20)).ok());
  Print(*console_, "x");
  EXPECT_EQ(console_->Flush(absl::Seconds(20)).code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(ConsoleTest, StopFlushesAndStartGoesOn) {
  OpenPipes();
  Start();
  Start();
  Print(*console_, "before ");
  console_->Stop();
  console_->Stop();
  EXPECT_EQ(ReadBytes(out_.read.get(), 7), "before ");

  Print(*console_, "meanwhile ");
  WriteAll(in_.write.get(), "typed");
  EXPECT_EQ(guest_.text(), "") << "nothing is enqueued while it is stopped";
  Start();
  EXPECT_EQ(ReadBytes(out_.read.get(), 10), "meanwhile ");
  EXPECT_TRUE(Eventually([&] { return guest_.text() == "typed"; }));
}

TEST_F(ConsoleTest, InputWaitsForRoom) {
  OpenPipes();
  guest_.set_room(3);
  Start();
  WriteAll(in_.write.get(), "abcdefgh");
  EXPECT_TRUE(Eventually([&] { return guest_.text() == "abc"; }));
  guest_.set_room(4);
  console_->ResumeInput();
  EXPECT_TRUE(Eventually([&] { return guest_.text() == "abcdefg"; }));
  // What was read and not taken outlives a stop.
  console_->Stop();
  guest_.set_room(100);
  Start();
  EXPECT_TRUE(Eventually([&] { return guest_.text() == "abcdefgh"; }));
}

TEST_F(ConsoleTest, AGuestThatDoesNotReadHoldsUpTheWriterOnly) {
  OpenPipes();
  guest_.set_room(0);
  Start();
  const std::string input(32 << 10, 'i');
  WriteAll(in_.write.get(), input);
  in_.write.Reset();
  Print(*console_, "alive");
  EXPECT_EQ(ReadBytes(out_.read.get(), 5), "alive");
  guest_.set_room(1 << 20);
  console_->ResumeInput();
  EXPECT_TRUE(Eventually([&] { return guest_.text() == input; })) << guest_.text().size();
}

TEST_F(ConsoleTest, TheEndOfInputEndsInputAlone) {
  OpenPipes();
  Start();
  WriteAll(in_.write.get(), "last");
  in_.write.Reset();
  EXPECT_TRUE(Eventually([&] { return guest_.text() == "last"; }));
  Print(*console_, "still here");
  EXPECT_EQ(ReadBytes(out_.read.get(), 10), "still here");
}

TEST_F(ConsoleTest, AReaderWhoGoesIsSurvived) {
  OpenPipes();
  Start();
  out_.read.Reset();
  Print(*console_, "to nobody");
  EXPECT_TRUE(console_->Flush(absl::Seconds(20)).ok());
  WriteAll(in_.write.get(), "in");
  EXPECT_TRUE(Eventually([&] { return guest_.text() == "in"; }));
}

TEST_F(ConsoleTest, BlockingOutputDoesNotHoldUpStop) {
  FdPair out = MakeSocketPair(SOCK_STREAM);
  auto endpoint = OpenTtyEndpoint(in_.read.get(), out.write.get());
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  ASSERT_TRUE(endpoint->output_blocks);
  Create(*std::move(endpoint));
  Start();
  for (int i = 0; i < 1024; ++i) Print(*console_, std::string(1024, 'x'));
  console_->Stop();
  EXPECT_EQ(ReadBytes(out.read.get(), 1), "x");
}

TEST_F(ConsoleTest, ATerminalHasKeysForTheVmm) {
  FdPair pty = MakePty();
  auto endpoint = OpenTtyEndpoint(pty.write.get(), pty.write.get());
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  Create(*std::move(endpoint));
  Start();
  WriteAll(pty.read.get(),
           "a\x03\x01"
           "ab\r");
  EXPECT_TRUE(Eventually([&] {
    return guest_.text() ==
           "a\x03\x01"
           "b\r";
  }));
  EXPECT_FALSE(guest_.quit);
  Print(*console_, "$ ");
  EXPECT_EQ(ReadBytes(pty.read.get(), 2), "$ ");
  guest_.set_room(0);
  WriteAll(pty.read.get(), "hung\x01x");
  EXPECT_TRUE(Eventually([&] { return guest_.quit.load(); }));
}

TEST_F(ConsoleTest, APipeHasNone) {
  OpenPipes();
  Start();
  WriteAll(in_.write.get(), "\x01x");
  EXPECT_TRUE(Eventually([&] { return guest_.text() == "\x01x"; }));
  EXPECT_FALSE(guest_.quit);
}

TEST_F(ConsoleTest, AFileGetsAllOfIt) {
  TempDir dir;
  auto console = Console::Open("file:" + dir.Path("log"));
  ASSERT_TRUE(console.ok()) << console.status();
  console_ = *std::move(console);
  Start();
  std::string expected;
  for (int i = 0; i < 1000; ++i) {
    expected += std::to_string(i);
    Print(*console_, std::to_string(i));
  }
  console_.reset();
  std::string text;
  std::getline(std::ifstream(dir.Path("log")), text);
  EXPECT_EQ(text, expected);
}

TEST_F(ConsoleTest, NoneTakesEverythingAndNeedsNoFlush) {
  auto console = Console::Open("none");
  ASSERT_TRUE(console.ok()) << console.status();
  Print(**console, "nothing");
  EXPECT_TRUE((*console)->Flush(absl::Seconds(20)).ok());
  EXPECT_TRUE((*console)->Start(guest_.handlers()).ok());
  Print(**console, "nothing");
  EXPECT_TRUE((*console)->Flush(absl::Seconds(20)).ok());
}

TEST_F(ConsoleTest, ReportsWhatOpeningReports) {
  EXPECT_EQ(Console::Open("pty").status().code(), absl::StatusCode::kInvalidArgument);
}

class FakeLine : public InterruptLine {
 public:
  void Set(bool) override {}
};

// The two ends together: a guest that echoes, with everything that was typed coming back in order.
TEST_F(ConsoleTest, NothingIsLostBetweenTheConsoleAndTheSerialPort) {
  OpenPipes();
  FakeLine line;
  Serial16550 serial(&line, console_.get());
  serial.SetRoomCallback([this] { console_->ResumeInput(); });
  const auto in = [&](uint64_t offset) {
    uint8_t value = 0;
    serial.Read(offset, {&value, 1});
    return value;
  };
  const auto out = [&](uint64_t offset, uint8_t value) { serial.Write(offset, {&value, 1}); };
  out(2, 0x01);
  EXPECT_EQ(console_->Start(
                {.input = [&](absl::Span<const uint8_t> bytes) { return serial.Enqueue(bytes); },
                 .quit = [] {}}),
            absl::OkStatus());

  std::string typed;
  for (int i = 0; typed.size() < 20000; ++i) typed += std::to_string(i) + " ";
  std::thread writer([&] { WriteAll(in_.write.get(), typed); });
  std::string echoed;
  std::thread reader([&] { echoed = ReadBytes(out_.read.get(), typed.size()); });
  size_t received = 0;
  EXPECT_TRUE(Eventually([&] {
    while (in(5) & 1) {
      out(0, in(0));
      ++received;
    }
    return received == typed.size();
  }));
  writer.join();
  reader.join();
  EXPECT_EQ(echoed, typed);
  console_->Stop();
}

}  // namespace
}  // namespace vmm
