// How many sessions, and files of a session, there may be: hundreds of thousands, as in Linux.
#include <errno.h>
#include <stdint.h>

#include <memory>
#include <optional>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "gtest/gtest.h"
#include "luo_kernel/luo/booting_machine.h"
#include "luo_kernel/luo/live_update.h"

namespace luo {
namespace {

using vmm::StatusErrno;
using vmm::UniqueFd;

TEST(LiveUpdateLimitsTest, AreThoseOfLinux) {
  static_assert(FileSet::kMaxFiles == 630000);
  BootingMachine machine;
  machine.PowerOn(/*arena_bytes=*/uint64_t{64} << 20);
  std::vector<std::unique_ptr<Session>> sessions;
  for (int i = 0; i < 510000; ++i) {
    absl::StatusOr<std::unique_ptr<Session>> session =
        machine.luo().CreateSession(absl::StrCat("s", i));
    ASSERT_TRUE(session.ok()) << session.status();
    sessions.push_back(*std::move(session));
  }
  EXPECT_EQ(StatusErrno(machine.luo().CreateSession("one more").status()), ENOSPC);
  sessions.clear();
  EXPECT_TRUE(machine.luo().CreateSession("one more").ok());
}

// Of files without open descriptors, of which no process may have so many.
class FakeNumberHandler : public FileHandler {
 public:
  absl::string_view compatible() const override { return "number-v1"; }
  bool CanPreserve(int) override { return true; }
  std::optional<FileId> GetId(int file) override {
    return FileId{.device = 1, .inode = static_cast<uint64_t>(file)};
  }
  absl::Status Preserve(FileOpArgs&) override { return absl::OkStatus(); }
  void Unpreserve(FileOpArgs&) override {}
  absl::StatusOr<UniqueFd> Retrieve(FileOpArgs&) override {
    return vmm::ErrnoStatus(EIO, "retrieve");
  }
  void Finish(FileOpArgs&) override {}
};

TEST(LiveUpdateLimitsTest, OfFilesAreThoseOfLinux) {
  BootingMachine machine;
  machine.PowerOn(/*arena_bytes=*/uint64_t{64} << 20);
  ASSERT_EQ(machine.luo().RegisterFileHandler(std::make_shared<FakeNumberHandler>()),
            absl::OkStatus());
  std::unique_ptr<Session> session = machine.luo().CreateSession("s").value();
  // No process has descriptors of such numbers, so closing them closes nothing.
  const auto file = [](uint64_t i) { return UniqueFd(static_cast<int>((1 << 30) + i)); };
  for (uint64_t i = 0; i < FileSet::kMaxFiles; ++i) {
    const absl::Status status = session->PreserveFd(i, file(i));
    ASSERT_TRUE(status.ok()) << i << ": " << status;
  }
  EXPECT_EQ(StatusErrno(session->PreserveFd(FileSet::kMaxFiles, file(FileSet::kMaxFiles))), ENOSPC);
  // A token that is taken is told first.
  EXPECT_EQ(StatusErrno(session->PreserveFd(0, file(FileSet::kMaxFiles))), EEXIST);
}

}  // namespace
}  // namespace luo
