#include "devices/console/unix_listener.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>

#include "devices/console/test_support.h"

namespace vmm {
namespace {

TEST(UnixListenerTest, AcceptsClientsOfTheSameUser) {
  TempDir dir;
  auto listener = UnixListener::Listen(dir.Path("console"));
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(listener->Accept().status().code(), absl::StatusCode::kUnavailable);

  struct stat info;
  ASSERT_EQ(stat(dir.Path("console").c_str(), &info), 0);
  EXPECT_EQ(info.st_mode & 0777, 0600u & ~0077u);

  UniqueFd client = ConnectTo(dir.Path("console"));
  ASSERT_TRUE(client.valid());
  auto accepted = listener->Accept();
  ASSERT_TRUE(accepted.ok()) << accepted.status();
  WriteAll(client.get(), "hi");
  EXPECT_EQ(ReadBytes(accepted->get(), 2), "hi");
}

TEST(UnixListenerTest, UnlinksWhenItGoes) {
  TempDir dir;
  {
    auto listener = UnixListener::Listen(dir.Path("console"));
    ASSERT_TRUE(listener.ok()) << listener.status();
    std::optional<UnixListener> moved(*std::move(listener));
    EXPECT_TRUE(std::filesystem::exists(dir.Path("console")));
  }
  EXPECT_FALSE(std::filesystem::exists(dir.Path("console")));
}

TEST(UnixListenerTest, LeavesAFileThatTookItsPlace) {
  TempDir dir;
  {
    auto listener = UnixListener::Listen(dir.Path("console"));
    ASSERT_TRUE(listener.ok()) << listener.status();
    // The new file first, or it might be given the old one's inode.
    std::ofstream(dir.Path("other")) << "another's";
    std::filesystem::rename(dir.Path("other"), dir.Path("console"));
  }
  EXPECT_TRUE(std::filesystem::exists(dir.Path("console")));
}

TEST(UnixListenerTest, ReplacesASocketThatNobodyListensOn) {
  TempDir dir;
  {
    auto listener = UnixListener::Listen(dir.Path("other"));
    ASSERT_TRUE(listener.ok()) << listener.status();
    std::filesystem::rename(dir.Path("other"), dir.Path("console"));
  }
  ASSERT_TRUE(std::filesystem::exists(dir.Path("console"))) << "stale, as after a kill";
  auto again = UnixListener::Listen(dir.Path("console"));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_TRUE(ConnectTo(dir.Path("console")).valid());
}

TEST(UnixListenerTest, RefusesAPathThatIsInUse) {
  TempDir dir;
  auto listener = UnixListener::Listen(dir.Path("console"));
  ASSERT_TRUE(listener.ok()) << listener.status();
  EXPECT_EQ(UnixListener::Listen(dir.Path("console")).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(ConnectTo(dir.Path("console")).valid()) << "the first was disturbed";

  std::ofstream(dir.Path("file")) << "precious";
  EXPECT_EQ(UnixListener::Listen(dir.Path("file")).status().code(),
            absl::StatusCode::kAlreadyExists);
  EXPECT_EQ(std::filesystem::file_size(dir.Path("file")), 8u);
}

TEST(UnixListenerTest, RefusesPathsThatNoSocketCanHave) {
  TempDir dir;
  EXPECT_EQ(UnixListener::Listen("").status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(UnixListener::Listen(dir.Path(std::string(108, 'a'))).status().code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(UnixListener::Listen(dir.Path("none/console")).status().code(),
            absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace vmm
