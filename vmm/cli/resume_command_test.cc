// `vmm resume` where the host has not all that a guest wants: as long as it fails, another may try.
#include <fcntl.h>
#include <sys/resource.h>
#include <unistd.h>

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "gtest/gtest.h"
#include "luo_kernel/client/fake_luo.h"
#include "vmm/cli/commands.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/name_lock.h"
#include "vmm/live_update/machine_update.h"
#include "vmm/live_update/tokens.h"
#include "vmm/machine/machine.h"
#include "vmm/machine/test_machine.h"
#include "vmm/state/state_memfd.h"

namespace vmm {
namespace {

// Lets this process have descriptors below `limit` only, while it lives.
class DescriptorLimit {
 public:
  explicit DescriptorLimit(rlim_t limit) {
    EXPECT_EQ(getrlimit(RLIMIT_NOFILE, &before_), 0);
    const struct rlimit lower = {.rlim_cur = limit, .rlim_max = before_.rlim_max};
    EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &lower), 0);
  }
  ~DescriptorLimit() { EXPECT_EQ(setrlimit(RLIMIT_NOFILE, &before_), 0); }

 private:
  struct rlimit before_ = {};
};

TEST(ResumeCommandTest, AResumeThatLacksDescriptorsLeavesTheStateToAnother) {
  if (absl::Status status = Kvm::Open().status(); !status.ok()) GTEST_SKIP() << status;
  constexpr rlim_t kEnough = 200;
  luo::FakeLuo luo;
  const std::string name = absl::StrCat("resume-command-test-", getpid());
  const absl::Status ran = luo.Run([&] {
    TestSurroundings surroundings;
    MachineConfig config = surroundings.ConfigWithCommands("");
    config.name = name;
    auto machine = Machine::Boot(config, surroundings.environment());
    ASSERT_TRUE(machine.ok()) << machine.status();
    (*machine)->Resume();
    ASSERT_TRUE(Counts(**machine));
    (*machine)->Pause();
    // The guest powers off as soon as it runs again.
    ASSERT_EQ((*machine)->platform().serial().Enqueue({'o'}), 1u);
    UniqueFd session = luo.NewSession();
    {
      MachineUpdate update(machine->get(), {.quiesce = [] {}, .go_on = [] {}});
      ASSERT_TRUE(update.Prepare(UniqueFd(fcntl(session.get(), F_DUPFD_CLOEXEC, 0))).ok());
      ASSERT_TRUE(update.Freeze().ok());
      update.End();
    }
    machine->reset();

    int failures = 0;
    for (rlim_t limit = 1; limit < kEnough; ++limit) {
      SCOPED_TRACE(limit);
      const int passed_on = fcntl(session.get(), F_DUPFD_CLOEXEC, 0);
      int code;
      {
        DescriptorLimit lower(limit);
        code = Resume(
            {.session_fd = passed_on, .serial = "null", .luod_socket = "/nonexistent/luod.socket"});
      }
      if (code == kExitPowerOff) break;
      ++failures;
      ASSERT_EQ(code, kExitError);
      ASSERT_EQ(ReadStateMemfd(luo.File(kStateToken)).status(), absl::OkStatus());
    }
    EXPECT_GT(failures, 0);
    EXPECT_EQ(luo.file_count(), 0u) << "the last resume finished the session";
  });
  unlink(absl::StrCat(NameLock::Folder(), "/", name, ".lock").c_str());
  if (!ran.ok()) GTEST_SKIP() << ran;
}

}  // namespace
}  // namespace vmm
