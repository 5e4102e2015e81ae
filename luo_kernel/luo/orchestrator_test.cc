#include "luo_kernel/luo/orchestrator.h"

#include <errno.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "gmock/gmock.h"
#include "gtest/gtest.h"

namespace luo {
namespace {

using ::testing::ElementsAre;
using vmm::StatusErrno;
using State = LiveUpdateState;

struct Log {
  std::vector<std::string> lines;
  int calls = 0;
  int fail_at = -1;
  absl::Status Check(const std::string& line) {
    lines.push_back(line);
    return calls++ == fail_at ? vmm::ErrnoStatus(EIO, line) : absl::OkStatus();
  }
};

class FakeParticipant : public Participant {
 public:
  FakeParticipant(std::string name, uint64_t number, Log* log)
      : name_(std::move(name)), number_(number), log_(log) {}
  absl::Status Prepare(uint64_t& payload) override {
    payload = number_;
    return log_->Check("prepare " + name_);
  }
  absl::Status Freeze(uint64_t& payload) override {
    payload += 100;
    return log_->Check("freeze " + name_);
  }
  void Cancel(uint64_t payload) override {
    log_->lines.push_back(absl::StrCat("cancel ", name_, " ", payload));
  }
  absl::Status Finish(uint64_t payload) override {
    return log_->Check(absl::StrCat("finish ", name_, " ", payload));
  }

 private:
  const std::string name_;
  const uint64_t number_;
  Log* const log_;
};

class OrchestratorTest : public testing::Test {
 protected:
  OrchestratorTest() {
    for (FakeParticipant* participant : {&a_, &b_, &c_}) {
      const char* names[] = {"a", "b", "c"};
      EXPECT_EQ(orchestrator_.Register(names[count_++], participant), absl::OkStatus());
    }
  }
  int count_ = 0;
  Log log_;
  FakeParticipant a_{"a", 1, &log_}, b_{"b", 2, &log_}, c_{"c", 3, &log_};
  Orchestrator orchestrator_;
};

TEST_F(OrchestratorTest, GoesThroughAllStates) {
  EXPECT_EQ(orchestrator_.state(), State::kNormal);
  ASSERT_EQ(orchestrator_.Prepare(), absl::OkStatus());
  EXPECT_EQ(orchestrator_.state(), State::kPrepared);
  ASSERT_EQ(orchestrator_.Freeze(), absl::OkStatus());
  EXPECT_EQ(orchestrator_.state(), State::kFrozen);
  EXPECT_THAT(log_.lines, ElementsAre("prepare a", "prepare b", "prepare c", "freeze a", "freeze b",
                                      "freeze c"));
  const std::vector<Orchestrator::Payload> payloads = orchestrator_.payloads();

  Log log;
  FakeParticipant a("a", 0, &log), b("b", 0, &log), c("c", 0, &log);
  Orchestrator next;
  ASSERT_EQ(next.Register("c", &c), absl::OkStatus());
  ASSERT_EQ(next.Register("a", &a), absl::OkStatus());
  ASSERT_EQ(next.Update(payloads), absl::OkStatus());
  EXPECT_EQ(next.state(), State::kUpdated);
  EXPECT_EQ(StatusErrno(next.Finish()), ENOENT);
  ASSERT_EQ(next.Register("b", &b), absl::OkStatus());
  ASSERT_EQ(next.Finish(), absl::OkStatus());
  EXPECT_EQ(next.state(), State::kNormal);
  EXPECT_THAT(log.lines, ElementsAre("finish c 103", "finish a 101", "finish b 102"));
}

TEST_F(OrchestratorTest, CancelsInReverse) {
  ASSERT_EQ(orchestrator_.Prepare(), absl::OkStatus());
  log_.lines.clear();
  ASSERT_EQ(orchestrator_.Cancel(), absl::OkStatus());
  EXPECT_THAT(log_.lines, ElementsAre("cancel c 3", "cancel b 2", "cancel a 1"));
  EXPECT_EQ(orchestrator_.state(), State::kNormal);
  ASSERT_EQ(orchestrator_.Prepare(), absl::OkStatus());
  ASSERT_EQ(orchestrator_.Freeze(), absl::OkStatus());
  log_.lines.clear();
  ASSERT_EQ(orchestrator_.Cancel(), absl::OkStatus());
  EXPECT_THAT(log_.lines, ElementsAre("cancel c 103", "cancel b 102", "cancel a 101"));
}

TEST_F(OrchestratorTest, AFailedPrepareIsUndone) {
  log_.fail_at = 2;
  const absl::Status status = orchestrator_.Prepare();
  EXPECT_EQ(StatusErrno(status), EIO);
  EXPECT_THAT(std::string(status.message()), testing::StartsWith("PREPARE of c: "));
  EXPECT_THAT(log_.lines,
              ElementsAre("prepare a", "prepare b", "prepare c", "cancel b 2", "cancel a 1"));
  EXPECT_EQ(orchestrator_.state(), State::kNormal);
  EXPECT_EQ(orchestrator_.Prepare(), absl::OkStatus());
}

TEST_F(OrchestratorTest, AFailedFreezeIsUndone) {
  log_.fail_at = 4;
  EXPECT_FALSE(orchestrator_.Prepare().ok() && orchestrator_.Freeze().ok());
  EXPECT_THAT(log_.lines, ElementsAre("prepare a", "prepare b", "prepare c", "freeze a", "freeze b",
                                      "cancel c 3", "cancel b 2", "cancel a 101"));
  EXPECT_EQ(orchestrator_.state(), State::kNormal);
}

// Each call on the way to the kexec fails once: whoever had prepared is told in reverse order, with
// the payload it has by then, nobody else is, and the next attempt succeeds.
TEST_F(OrchestratorTest, EveryFailureIsUndone) {
  const std::vector<std::string> names = {"a", "b", "c"};
  for (int fail_at = 0; fail_at < 6; ++fail_at) {
    SCOPED_TRACE(fail_at);
    log_ = Log{.fail_at = fail_at};
    EXPECT_FALSE(orchestrator_.Prepare().ok() && orchestrator_.Freeze().ok());
    EXPECT_EQ(orchestrator_.state(), State::kNormal);
    std::vector<std::string> wanted;
    for (int i = 0; i <= fail_at; ++i) {
      wanted.push_back(absl::StrCat(i < 3 ? "prepare " : "freeze ", names[i % 3]));
    }
    const int prepared = std::min(fail_at, 3), frozen = std::max(0, fail_at - 3);
    for (int i = prepared - 1; i >= 0; --i) {
      wanted.push_back(absl::StrCat("cancel ", names[i], " ", i + 1 + (i < frozen ? 100 : 0)));
    }
    EXPECT_EQ(log_.lines, wanted);
    log_ = Log{};
    EXPECT_TRUE(orchestrator_.Prepare().ok() && orchestrator_.Freeze().ok());
    EXPECT_EQ(orchestrator_.Cancel(), absl::OkStatus());
  }
}

// In the new kernel: each is asked until it succeeds, and none twice.
TEST_F(OrchestratorTest, EveryFailedFinishIsTakenUpAgain) {
  for (int fail_at = 0; fail_at < 3; ++fail_at) {
    SCOPED_TRACE(fail_at);
    ASSERT_EQ(orchestrator_.Update({{"a", 1}, {"b", 2}, {"c", 3}}), absl::OkStatus());
    log_ = Log{.fail_at = fail_at};
    EXPECT_EQ(StatusErrno(orchestrator_.Finish()), EIO);
    EXPECT_EQ(orchestrator_.state(), State::kUpdated);
    EXPECT_EQ(orchestrator_.Finish(), absl::OkStatus());
    EXPECT_EQ(orchestrator_.state(), State::kNormal);
    // In order, and the one that failed twice.
    std::vector<std::string> wanted = {"finish a 1", "finish b 2", "finish c 3"};
    wanted.insert(wanted.begin() + fail_at, wanted[fail_at]);
    EXPECT_EQ(log_.lines, wanted);
  }
}

TEST_F(OrchestratorTest, AFailedFinishGoesOnWhereItWas) {
  ASSERT_EQ(orchestrator_.Update({{"a", 1}, {"b", 2}, {"c", 3}}), absl::OkStatus());
  log_.fail_at = 1;
  EXPECT_EQ(StatusErrno(orchestrator_.Finish()), EIO);
  EXPECT_EQ(orchestrator_.state(), State::kUpdated);
  log_.lines.clear();
  EXPECT_EQ(orchestrator_.Finish(), absl::OkStatus());
  EXPECT_THAT(log_.lines, ElementsAre("finish b 2", "finish c 3"));
}

TEST_F(OrchestratorTest, RefusesStepsOutOfOrder) {
  const auto refused = [](const absl::Status& status) {
    return absl::IsFailedPrecondition(status) && StatusErrno(status) == EINVAL;
  };
  EXPECT_TRUE(refused(orchestrator_.Freeze()));
  EXPECT_TRUE(refused(orchestrator_.Cancel()));
  EXPECT_TRUE(refused(orchestrator_.Finish()));
  ASSERT_EQ(orchestrator_.Prepare(), absl::OkStatus());
  EXPECT_TRUE(refused(orchestrator_.Prepare()));
  EXPECT_TRUE(refused(orchestrator_.Update({})));
  EXPECT_TRUE(refused(orchestrator_.Finish()));
  FakeParticipant late("late", 4, &log_);
  EXPECT_TRUE(refused(orchestrator_.Register("late", &late)));
  EXPECT_TRUE(refused(orchestrator_.Unregister("a")));
  ASSERT_EQ(orchestrator_.Freeze(), absl::OkStatus());
  EXPECT_TRUE(refused(orchestrator_.Freeze()));
  ASSERT_EQ(orchestrator_.Cancel(), absl::OkStatus());
  ASSERT_EQ(orchestrator_.Update({}), absl::OkStatus());
  EXPECT_TRUE(refused(orchestrator_.Cancel()));
  EXPECT_EQ(orchestrator_.Finish(), absl::OkStatus());
}

TEST_F(OrchestratorTest, NamesAreUnique) {
  EXPECT_EQ(StatusErrno(orchestrator_.Register("a", &b_)), EEXIST);
  EXPECT_EQ(StatusErrno(orchestrator_.Unregister("x")), ENOENT);
  EXPECT_EQ(orchestrator_.Unregister("a"), absl::OkStatus());
  EXPECT_EQ(orchestrator_.Register("a", &a_), absl::OkStatus());
  EXPECT_EQ(StatusErrno(orchestrator_.Update({{"x", 1}, {"x", 2}})), EEXIST);
}

TEST_F(OrchestratorTest, MonitorsSeeEveryChange) {
  std::vector<std::string> seen;
  const uint64_t id =
      orchestrator_.AddMonitor([&seen](State state) { seen.emplace_back(StateName(state)); });
  const absl::StatusOr<int> fd = orchestrator_.event_fd();
  ASSERT_TRUE(fd.ok()) << fd.status();
  eventfd_t changes = 0;
  EXPECT_EQ(eventfd_read(*fd, &changes), -1);
  ASSERT_EQ(orchestrator_.Prepare(), absl::OkStatus());
  ASSERT_EQ(orchestrator_.Freeze(), absl::OkStatus());
  ASSERT_EQ(orchestrator_.Cancel(), absl::OkStatus());
  EXPECT_THAT(seen, ElementsAre("PREPARED", "FROZEN", "NORMAL"));
  ASSERT_EQ(eventfd_read(*fd, &changes), 0);
  EXPECT_EQ(changes, 3u);
  orchestrator_.RemoveMonitor(id);
  ASSERT_EQ(orchestrator_.Update({}), absl::OkStatus());
  EXPECT_EQ(seen.size(), 3u);
}

TEST_F(OrchestratorTest, ManyThreadsMayAskAndStep) {
  std::atomic<bool> stop = false;
  std::thread watcher([&] {
    while (!stop) {
      (void)orchestrator_.state();
      (void)orchestrator_.payloads();
    }
  });
  // Of two who prepare at once, one does.
  std::atomic<int> prepared = 0;
  for (int round = 0; round < 50; ++round) {
    prepared = 0;
    std::vector<std::thread> threads;
    for (int i = 0; i < 2; ++i) {
      threads.emplace_back([&] { prepared += orchestrator_.Prepare().ok(); });
    }
    for (std::thread& thread : threads) thread.join();
    EXPECT_EQ(prepared, 1);
    ASSERT_EQ(orchestrator_.Cancel(), absl::OkStatus());
  }
  stop = true;
  watcher.join();
}

}  // namespace
}  // namespace luo
