#include "vmm/cli/name_lock.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <optional>
#include <string>

#include "absl/strings/str_cat.h"

namespace vmm {
namespace {

TEST(NameLockTest, SecondOfOneNameIsRefusedUntilTheFirstGoes) {
  const std::string name = absl::StrCat("lock-test-", getpid());
  absl::StatusOr<NameLock> first = NameLock::Acquire(name);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(NameLock::Acquire(name).status().code(), absl::StatusCode::kAlreadyExists);
  EXPECT_TRUE(NameLock::Acquire(absl::StrCat(name, "x")).ok());
  first = absl::CancelledError();
  EXPECT_TRUE(NameLock::Acquire(name).ok());
}

TEST(NameLockTest, RefusesANameThatNoAddressHolds) {
  EXPECT_FALSE(NameLock::Acquire(std::string(200, 'a')).ok());
}

}  // namespace
}  // namespace vmm
