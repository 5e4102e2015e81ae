// What a session must hold for a VM to be retrieved from it, and what is said when it does not.
#include "vmm/live_update/resume.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>

#include <functional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "guest_memory/memfd_region.h"
#include "luo_kernel/client/fake_luo.h"
#include "vmm/live_update/tokens.h"
#include "vmm/machine/config.h"
#include "vmm/state/state_memfd.h"
#include "vmm/state/state_schema.h"

namespace vmm {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint64_t kMemory = uint64_t{4} << 30;  // on both sides of the PCI hole

TEST(RetrieveVmTest, ADescriptorThatIsNoSession) {
  luo::LiveUpdateSession session{UniqueFd(open("/dev/null", O_RDWR | O_CLOEXEC))};
  const absl::Status status = RetrieveVm(session, [](absl::string_view) {}).status();
  EXPECT_EQ(StatusErrno(status), ENOTTY);
  EXPECT_THAT(std::string(status.message()), HasSubstr("not a live update session"));
}

class RetrieveTest : public ::testing::Test {
 protected:
  // Runs `body` with a session that holds what a frozen VM leaves there, as far as RetrieveVm()
  // looks into it.
  void WithSession(const std::function<void()>& body) {
    const absl::Status ran = luo_.Run([&] {
      session_.emplace(luo_.NewSession());
      MachineConfig config;
      config.kernel = "/kernel";
      config.memory_bytes = kMemory;
      state_ = Tree();
      state_.SetString("compatible", kMachineCompatible);
      state_.AddChild(config.Save());
      Tree& layout = state_.AddChild(Tree("memory"));
      layout.SetString("compatible", "vmm,memory-v1");
      uint64_t token = kFirstRamToken;
      const std::vector<GuestRange> ranges = *SplitGuestRam(kMemory);
      for (const GuestRange& range : ranges) {
        Tree& child =
            layout.AddChild(Tree(absl::StrCat("region@", absl::Hex(range.start.value()))));
        child.SetU64("start", range.start.value());
        child.SetU64("size", range.size);
        luo_.Put(token++, Ram(range));
      }
      PutState();
      body();
    });
    if (!ran.ok()) GTEST_SKIP() << ran;
  }

  static UniqueFd Ram(GuestRange range) {
    auto region = MemfdRegion::Create(range, HugePages::kOff);
    EXPECT_TRUE(region.ok()) << region.status();
    return UniqueFd(fcntl(region->fd(), F_DUPFD_CLOEXEC, 0));
  }
  void PutState() {
    auto memfd = WriteStateMemfd(state_);
    ASSERT_TRUE(memfd.ok()) << memfd.status();
    luo_.Put(kStateToken, *std::move(memfd));
  }

  absl::StatusOr<RetrievedVm> Retrieve() {
    return RetrieveVm(*session_, [this](absl::string_view node) { skipped_.emplace_back(node); });
  }
  std::string Error() {
    const absl::Status status = Retrieve().status();
    EXPECT_FALSE(status.ok());
    return std::string(status.message());
  }

  luo::FakeLuo luo_;
  std::optional<luo::LiveUpdateSession> session_;
  Tree state_;
  std::vector<std::string> skipped_;
};

TEST_F(RetrieveTest, GivesStateAndMemory) {
  WithSession([&] {
    auto vm = Retrieve();
    ASSERT_TRUE(vm.ok()) << vm.status();
    EXPECT_EQ(vm->memory.size(), kMemory);
    ASSERT_EQ(vm->memory.regions().size(), 2u);
    EXPECT_EQ(vm->memory.regions()[1].range().start, GuestAddress(kPciHoleEnd));
    EXPECT_EQ(vm->state.children().size(), 2u);
    EXPECT_THAT(skipped_, IsEmpty());
  });
}

TEST_F(RetrieveTest, EachTokenThatIsNotThere) {
  WithSession([&] {
    for (uint64_t token : {kStateToken, kFirstRamToken, kFirstRamToken + 1}) {
      UniqueFd file = luo_.Take(token);
      const absl::Status status = Retrieve().status();
      EXPECT_EQ(StatusErrno(status), ENOENT);
      EXPECT_THAT(std::string(status.message()), HasSubstr(absl::StrFormat("token %#x:", token)));
      luo_.Put(token, std::move(file));
    }
    EXPECT_TRUE(Retrieve().ok()) << "a failure changes nothing";
  });
}

TEST_F(RetrieveTest, AStateThatIsNone) {
  WithSession([&] {
    luo_.Put(kStateToken, UniqueFd(memfd_create("empty", MFD_CLOEXEC)));
    EXPECT_EQ(Retrieve().status().code(), absl::StatusCode::kInvalidArgument);
    luo_.Put(kStateToken, UniqueFd(open("/dev/zero", O_RDWR | O_CLOEXEC)));
    EXPECT_THAT(Error(), HasSubstr("not in a memfd"));
  });
}

TEST_F(RetrieveTest, AStateFromWhichAGuestRan) {
  WithSession([&] {
    ASSERT_EQ(MarkConsumed(luo_.File(kStateToken)), absl::OkStatus());
    EXPECT_EQ(Retrieve().status().code(), absl::StatusCode::kFailedPrecondition);
  });
}

TEST_F(RetrieveTest, NodesThatThisVersionDoesNotKnow) {
  WithSession([&] {
    Tree optional("balloon@1");
    optional.SetFlag("optional");
    state_.AddChild(optional);
    PutState();
    EXPECT_TRUE(Retrieve().ok());
    EXPECT_THAT(skipped_, ElementsAre("balloon@1"));
    state_.AddChild(Tree("virtio-net"));
    PutState();
    EXPECT_THAT(Error(), HasSubstr("virtio-net"));
  });
}

TEST_F(RetrieveTest, MemoryThatIsNotWhatTheStateSays) {
  WithSession([&] {
    UniqueFd low = luo_.Take(kFirstRamToken);
    luo_.Put(kFirstRamToken, luo_.Take(kFirstRamToken + 1));
    luo_.Put(kFirstRamToken + 1, std::move(low));
    EXPECT_THAT(Error(), HasSubstr("measures"));

    UniqueFd unsealed(memfd_create("ram", MFD_CLOEXEC | MFD_ALLOW_SEALING));
    ASSERT_EQ(ftruncate(unsealed.get(), kPciHoleStart), 0);
    luo_.Put(kFirstRamToken, std::move(unsealed));
    EXPECT_THAT(Error(), HasSubstr("seals"));
    luo_.Put(kFirstRamToken, UniqueFd(open("/dev/zero", O_RDWR | O_CLOEXEC)));
    EXPECT_THAT(Error(), HasSubstr("memfd"));
  });
}

TEST_F(RetrieveTest, ALayoutThatIsNotTheConfigs) {
  WithSession([&] {
    Tree& layout = state_.mutable_children()[1];
    std::swap(layout.mutable_children()[0], layout.mutable_children()[1]);
    PutState();
    EXPECT_THAT(Error(), HasSubstr("layout"));
  });
}

}  // namespace
}  // namespace vmm
