#include "devices/console/endpoint.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>

#include "devices/console/test_support.h"

namespace vmm {
namespace {

TEST(OpenConsoleEndpointTest, RefusesUnknownSpecifications) {
  for (const char* bad :
       {"", "pty", "TTY", "tty:", "file", "file:", "socket", "socket:", "null "}) {
    EXPECT_EQ(OpenConsoleEndpoint(bad).status().code(), absl::StatusCode::kInvalidArgument) << bad;
  }
}

TEST(OpenConsoleEndpointTest, NoneHasNothing) {
  for (const char* none : {"none", "null"}) {
    auto endpoint = OpenConsoleEndpoint(none);
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    EXPECT_FALSE(endpoint->input.valid());
    EXPECT_FALSE(endpoint->output.valid());
    EXPECT_FALSE(endpoint->listener.has_value());
    EXPECT_EQ(endpoint->capacity, 0u);
  }
}

TEST(OpenConsoleEndpointTest, FileIsAppendedTo) {
  TempDir dir;
  const std::string path = dir.Path("log");
  for (const char* text : {"one ", "two"}) {
    auto endpoint = OpenConsoleEndpoint("file:" + path);
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    EXPECT_FALSE(endpoint->input.valid());
    WriteAll(endpoint->output.get(), text);
  }
  std::string content;
  std::getline(std::ifstream(path), content);
  EXPECT_EQ(content, "one two");
  struct stat info;
  ASSERT_EQ(stat(path.c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0077, 0u) << "a console's log is nobody else's";
}

TEST(OpenConsoleEndpointTest, FileErrorsNameThePathAndNeverWait) {
  TempDir dir;
  EXPECT_EQ(OpenConsoleEndpoint("file:" + dir.Path("none/log")).status().code(),
            absl::StatusCode::kNotFound);
  EXPECT_FALSE(OpenConsoleEndpoint("file:" + dir.Path("")).ok()) << "a directory";
  ASSERT_EQ(mkfifo(dir.Path("fifo").c_str(), 0600), 0);
  auto status = OpenConsoleEndpoint("file:" + dir.Path("fifo")).status();
  EXPECT_NE(status.message().find(dir.Path("fifo")), std::string::npos) << status;
}

TEST(OpenConsoleEndpointTest, SocketListens) {
  TempDir dir;
  auto endpoint = OpenConsoleEndpoint("socket:" + dir.Path("console"));
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_TRUE(endpoint->listener.has_value());
  EXPECT_TRUE(ConnectTo(dir.Path("console")).valid());
}

TEST(OpenTtyEndpointTest, DoesNotMakeTheSharedDescriptorNonBlocking) {
  FdPair in = MakePipe(), out = MakePipe();
  auto endpoint = OpenTtyEndpoint(in.read.get(), out.write.get());
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_FALSE(endpoint->output_blocks);
  EXPECT_FALSE(endpoint->terminal.has_value());
  EXPECT_TRUE(fcntl(endpoint->output.get(), F_GETFL) & O_NONBLOCK);
  EXPECT_FALSE(fcntl(out.write.get(), F_GETFL) & O_NONBLOCK);
}

TEST(OpenTtyEndpointTest, SaysWhenOutputBlocks) {
  FdPair in = MakePipe(), out = MakeSocketPair(SOCK_STREAM);
  auto endpoint = OpenTtyEndpoint(in.read.get(), out.write.get());
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  EXPECT_TRUE(endpoint->output_blocks);
}

TEST(OpenTtyEndpointTest, WritesARedirectedFileWhereItsDescriptorStands) {
  TempDir dir;
  FdPair in = MakePipe();
  UniqueFd file(open(dir.Path("out").c_str(), O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
  WriteAll(file.get(), "shell ");
  auto endpoint = OpenTtyEndpoint(in.read.get(), file.get());
  ASSERT_TRUE(endpoint.ok()) << endpoint.status();
  WriteAll(endpoint->output.get(), "guest");
  EXPECT_EQ(std::filesystem::file_size(dir.Path("out")), 11u);
}

TEST(OpenTtyEndpointTest, MakesATerminalRaw) {
  FdPair pty = MakePty();
  {
    auto endpoint = OpenTtyEndpoint(pty.write.get(), pty.write.get());
    ASSERT_TRUE(endpoint.ok()) << endpoint.status();
    EXPECT_TRUE(endpoint->terminal.has_value());
    termios settings;
    ASSERT_EQ(tcgetattr(pty.write.get(), &settings), 0);
    EXPECT_FALSE(settings.c_lflag & ICANON);
  }
  termios settings;
  ASSERT_EQ(tcgetattr(pty.write.get(), &settings), 0);
  EXPECT_TRUE(settings.c_lflag & ICANON);
}

TEST(OpenTtyEndpointTest, ClosedDescriptorsAreErrors) {
  FdPair pipe = MakePipe();
  EXPECT_FALSE(OpenTtyEndpoint(-1, pipe.write.get()).ok());
  EXPECT_FALSE(OpenTtyEndpoint(pipe.read.get(), -1).ok());
}

}  // namespace
}  // namespace vmm
