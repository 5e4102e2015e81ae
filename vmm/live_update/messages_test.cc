#include "vmm/live_update/messages.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "vmm/live_update/tokens.h"
#include "vmm/machine/vm_name.h"

namespace vmm {
namespace {

RegisterRequest SomeVm() {
  return {.name = "db-1.a",
          .vcpus = 4,
          .memory_bytes = uint64_t{8} << 30,
          .pid = 77,
          .resume_argv = {"/usr/bin/vmm", "resume", "--flag", ""},
          .resumed = true,
          .run_tsc = 99};
}

TEST(MessagesTest, RegisterRoundTrips) {
  Message message = SomeVm().ToMessage(5);
  EXPECT_EQ(message.type, MessageType::kRegister);
  EXPECT_EQ(message.request, 5u);
  absl::StatusOr<RegisterRequest> again = RegisterRequest::FromTree(message.body);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->name, "db-1.a");
  EXPECT_EQ(again->vcpus, 4u);
  EXPECT_EQ(again->memory_bytes, uint64_t{8} << 30);
  EXPECT_EQ(again->pid, 77u);
  EXPECT_EQ(again->resume_argv, SomeVm().resume_argv);
  EXPECT_TRUE(again->resumed);
  EXPECT_EQ(again->run_tsc, 99u);
}

TEST(MessagesTest, RegisterRefusesWhatIsMissingOrMisshapen) {
  for (const char* property : {"name", "vcpus", "memory-bytes", "pid", "resume-argv", "run-tsc"}) {
    Tree whole = SomeVm().ToMessage(1).body;
    Tree without;
    for (const auto& [name, value] : whole.properties()) {
      if (name != property) without.SetBytes(name, value);
    }
    EXPECT_FALSE(RegisterRequest::FromTree(without).ok()) << property;
    whole.SetBytes(property, {});
    EXPECT_FALSE(RegisterRequest::FromTree(whole).ok()) << property;
  }
  Tree relative = SomeVm().ToMessage(1).body;
  SetStringList(relative, "resume-argv", {"vmm", "resume"});
  EXPECT_FALSE(RegisterRequest::FromTree(relative).ok());
}

TEST(VmSessionNameTest, FitsASession) {
  EXPECT_LE(VmSessionName(std::string(kMaxVmNameLength, 'x')).size(), 63u);
}

TEST(MessagesTest, StringListsOfAnyShape) {
  Tree tree;
  SetStringList(tree, "none", {});
  EXPECT_TRUE(GetStringList(tree, "none")->empty());
  SetStringList(tree, "some", {"a", "", "b c"});
  EXPECT_EQ(*GetStringList(tree, "some"), (std::vector<std::string>{"a", "", "b c"}));
  tree.SetBytes("open", {'a', 0, 'b'});
  EXPECT_FALSE(GetStringList(tree, "open").ok());
  tree.SetBytes("many", std::vector<uint8_t>(kMaxListStrings + 1, 0));
  EXPECT_FALSE(GetStringList(tree, "many").ok());
  EXPECT_FALSE(GetStringList(tree, "absent").ok());
}

TEST(MessagesTest, ErrorsCarryTheirStatus) {
  absl::Status status = absl::AlreadyExistsError("name taken");
  EXPECT_EQ(StatusOfAnswer(ErrorMessage(1, status)), status);
  EXPECT_TRUE(StatusOfAnswer(OkMessage(1)).ok());
  EXPECT_FALSE(StatusOfAnswer(Message{.type = MessageType::kPing}).ok());
  EXPECT_EQ(StatusOfAnswer(ErrorMessage(1, absl::InternalError(std::string(100000, 'x'))))
                .message()
                .size(),
            kMaxErrorText);
}

TEST(MessagesTest, AnErrorIsNeverTakenForOk) {
  Message error = ErrorMessage(1, absl::InternalError("x"));
  for (uint32_t code : {0u, 17u, 0xffffffffu}) {
    error.body.SetU32("code", code);
    EXPECT_EQ(StatusOfAnswer(error).code(), absl::StatusCode::kUnknown) << code;
  }
  EXPECT_FALSE(StatusOfAnswer(Message{.type = MessageType::kError}).ok());
}

TEST(MessagesTest, UpgradeMustCarryTheDescriptorsItAnnounces) {
  auto message = [](bool has_initrd, int count) {
    std::vector<UniqueFd> fds;
    for (int i = 0; i < count; ++i) fds.emplace_back(dup(0));
    return UpgradeRequest{.command_line = "quiet", .has_initrd = has_initrd, .vm_timeout_ms = 5}
        .ToMessage(1, std::move(fds));
  };
  EXPECT_EQ(UpgradeRequest::FromMessage(message(false, 1))->command_line, "quiet");
  EXPECT_EQ(UpgradeRequest::FromMessage(message(true, 2))->vm_timeout_ms, 5u);
  EXPECT_FALSE(UpgradeRequest::FromMessage(message(false, 0)).ok());
  EXPECT_FALSE(UpgradeRequest::FromMessage(message(false, 2)).ok());
  EXPECT_FALSE(UpgradeRequest::FromMessage(message(true, 1)).ok());
}

TEST(MessagesTest, AnAnswerToPingMaySayNothing) {
  EXPECT_EQ(PingReply::FromTree(PingReply{.missing_bytes = 7}.ToMessage(1).body)->missing_bytes,
            7u);
  EXPECT_EQ(PingReply::FromTree(OkMessage(1).body)->missing_bytes, 0u);
  Tree misshapen;
  misshapen.SetU32("missing-bytes", 7);
  EXPECT_FALSE(PingReply::FromTree(misshapen).ok());
}

TEST(MessagesTest, RepliesAndReportsRoundTrip) {
  PrepareReply prepare{.duration_ns = 1, .preserved_bytes = 2};
  EXPECT_EQ(PrepareReply::FromTree(prepare.ToMessage(1).body)->preserved_bytes, 2u);
  FreezeReply freeze{.pause_tsc = 3, .duration_ns = 4, .state_bytes = 5};
  EXPECT_EQ(FreezeReply::FromTree(freeze.ToMessage(1).body)->pause_tsc, 3u);
  Progress progress{.phase = "freeze", .text = "2 of 3"};
  EXPECT_EQ(Progress::FromTree(progress.ToMessage(1).body)->text, "2 of 3");
  VmStatus vm{.name = "a", .state = "failed", .detail = "exited", .vcpus = 1, .blackout_ns = 6};
  EXPECT_EQ(VmStatus::FromTree(vm.ToMessage(1).body)->detail, "exited");
  EXPECT_EQ(VmStatus::FromTree(vm.ToMessage(1).body)->blackout_ns, 6u);
  HostStatus host{
      .phase = "idle", .kernel = "7.3.4", .old_kernel = "", .generation = 2, .resume_ns = 8};
  EXPECT_EQ(HostStatus::FromTree(host.ToMessage(1).body)->resume_ns, 8u);
  EXPECT_FALSE(HostStatus::FromTree(Tree()).ok());
  EXPECT_FALSE(
      VmNameRequest::FromTree(VmNameRequest{.name = "../x"}.ToMessage(MessageType::kRetry, 1).body)
          .ok());
}

}  // namespace
}  // namespace vmm
