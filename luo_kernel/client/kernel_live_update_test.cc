#include "luo_kernel/client/kernel_live_update.h"

#include <errno.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "base/status.h"

namespace luo {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

TEST(KernelLiveUpdateTest, AnAbsentDeviceSaysWhatTheKernelLacks) {
  absl::Status status = KernelLiveUpdate::Open("/nonexistent/liveupdate").status();
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(vmm::StatusErrno(status), ENOENT);
  EXPECT_THAT(std::string(status.message()),
              AllOf(HasSubstr("/nonexistent/liveupdate"), HasSubstr("CONFIG_LIVEUPDATE"),
                    HasSubstr("liveupdate=on")));
}

// A device that opens and knows none of the requests.
class OtherDeviceTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto client = KernelLiveUpdate::Open("/dev/null");
    ASSERT_TRUE(client.ok()) << client.status();
    client_ = *std::move(client);
  }

  std::unique_ptr<KernelLiveUpdate> client_;
};

TEST_F(OtherDeviceTest, IsToldFromLiveUpdate) {
  for (const absl::Status& status :
       {client_->CreateSession("vm").status(), client_->RetrieveSession("vm").status()}) {
    EXPECT_EQ(vmm::StatusErrno(status), ENOTTY);
    EXPECT_THAT(std::string(status.message()),
                AllOf(HasSubstr("session \"vm\""), HasSubstr("not /dev/liveupdate")));
  }
}

TEST_F(OtherDeviceTest, ANameThatTheKernelWouldCutIsNotSent) {
  const std::string longest(kMaxSessionNameLength, 'n');
  EXPECT_EQ(vmm::StatusErrno(client_->CreateSession(longest).status()), ENOTTY) << "not sent";
  for (const std::string& name : {std::string(), longest + 'n', std::string("vm\0x", 4)}) {
    for (const absl::Status& status :
         {client_->CreateSession(name).status(), client_->RetrieveSession(name).status()}) {
      EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
      EXPECT_EQ(vmm::StatusErrno(status), 0) << "the kernel was asked: " << status;
      EXPECT_THAT(std::string(status.message()), HasSubstr("1 to 63"));
    }
  }
}

}  // namespace
}  // namespace luo
