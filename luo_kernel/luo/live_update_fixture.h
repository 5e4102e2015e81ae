// The fixture of the tests of LiveUpdate: a machine whose kernel has a fake file handler, and an
// FLB where the test wants one.
#ifndef LUO_KERNEL_LUO_LIVE_UPDATE_FIXTURE_H_
#define LUO_KERNEL_LUO_LIVE_UPDATE_FIXTURE_H_

#include <memory>
#include <string>
#include <utility>

#include "absl/strings/string_view.h"
#include "base/status.h"
#include "gtest/gtest.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/luo/booting_machine.h"
#include "luo_kernel/luo/fake_handler.h"
#include "luo_kernel/luo/live_update.h"

namespace luo {

class LiveUpdateTest : public testing::Test {
 protected:
  void SetUp() override {
    machine_.on_boot = [this](BootingMachine& machine) {
      handler_ = std::make_shared<FakeHandler>("fake-v1", machine, &faults_);
      ASSERT_EQ(machine.luo().RegisterFileHandler(handler_), absl::OkStatus());
      if (!with_flb_) return;
      flb_ = std::make_shared<FakeFlb>("flb-v1", machine, &faults_);
      ASSERT_EQ(machine.luo().RegisterFlb(handler_.get(), flb_), absl::OkStatus());
    };
    machine_.PowerOn();
  }

  std::unique_ptr<Session> Create(const std::string& name) {
    absl::StatusOr<std::unique_ptr<Session>> session = machine_.luo().CreateSession(name);
    EXPECT_TRUE(session.ok()) << session.status();
    return session.ok() ? *std::move(session) : nullptr;
  }
  std::unique_ptr<Session> RetrieveSession(const std::string& name) {
    EXPECT_EQ(machine_.luo().Deserialize(), absl::OkStatus());
    absl::StatusOr<std::unique_ptr<Session>> session = machine_.luo().RetrieveSession(name);
    EXPECT_TRUE(session.ok()) << session.status();
    return session.ok() ? *std::move(session) : nullptr;
  }
  int CreateErrno(absl::string_view name) {
    return vmm::StatusErrno(machine_.luo().CreateSession(name).status());
  }
  int RetrieveErrno(absl::string_view name) {
    return vmm::StatusErrno(machine_.luo().RetrieveSession(name).status());
  }
  abi::LuoSer Root() {
    const absl::StatusOr<Subtree> subtree = machine_.outgoing().FindSubtree("LUO");
    EXPECT_TRUE(subtree.ok());
    return *ReadStruct<abi::LuoSer>(machine_.memory(), subtree->address);
  }

  bool with_flb_ = false;
  Faults faults_;
  BootingMachine machine_;
  std::shared_ptr<FakeHandler> handler_;
  std::shared_ptr<FakeFlb> flb_;
};

}  // namespace luo

#endif  // LUO_KERNEL_LUO_LIVE_UPDATE_FIXTURE_H_
