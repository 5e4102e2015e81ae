#include "base/thread.h"

#include <errno.h>
#include <pthread.h>
#include <sys/resource.h>

#include <atomic>

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
  // A stack of a size that no thread had before, or one of theirs would do.
  pthread_attr_t attributes;
  ASSERT_EQ(pthread_attr_init(&attributes), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&attributes, 64 << 20), 0);
  ASSERT_EQ(pthread_setattr_default_np(&attributes), 0);
  rlimit before;
  ASSERT_EQ(getrlimit(RLIMIT_AS, &before), 0);
  const rlimit none = {.rlim_cur = 1, .rlim_max = before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_AS, &none), 0);
  bool ran = false;
  const absl::Status status = StartThread([&] { ran = true; }).status();
  ASSERT_EQ(setrlimit(RLIMIT_AS, &before), 0);
  EXPECT_EQ(StatusErrno(status), EAGAIN) << status;
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace vmm
