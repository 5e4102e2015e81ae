#include "base/thread.h"

#include <errno.h>

#include <atomic>

#include "base/no_more_threads.h"
#include "base/status.h"
#include "gtest/gtest.h"

namespace vmm {
namespace {

TEST(ThreadTest, RunsTheBody) {
  std::atomic<bool> ran = false;
  absl::StatusOr<std::thread> thread = StartThread([&] { ran = true; });
  ASSERT_TRUE(thread.ok()) << thread.status();
  thread->join();
  EXPECT_TRUE(ran);
}

TEST(ThreadTest, SaysThatThereIsNoRoomForOneMore) {
  bool ran = false;
  absl::Status status;
  {
    NoMoreThreads none;
    status = StartThread([&] { ran = true; }).status();
  }
  EXPECT_EQ(StatusErrno(status), EAGAIN) << status;
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace vmm
