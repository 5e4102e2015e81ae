#include "base/status.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <memory>

namespace vmm {
namespace {

TEST(ErrnoStatusTest, KeepsCodeMessageAndErrno) {
  absl::Status status = ErrnoStatus(ENOENT, "/dev/kvm");
  EXPECT_EQ(status.code(), absl::StatusCode::kNotFound);
  EXPECT_EQ(status.message(), "/dev/kvm: No such file or directory");
  EXPECT_EQ(StatusErrno(status), ENOENT);
  EXPECT_EQ(StatusErrno(absl::InternalError("made otherwise")), 0);
}

TEST(AnnotateTest, PutsContextFirstAndKeepsErrno) {
  absl::Status status = Annotate(ErrnoStatus(EBUSY, "open"), "web1");
  EXPECT_EQ(status.message(), "web1: open: Device or resource busy");
  EXPECT_EQ(StatusErrno(status), EBUSY);
  EXPECT_TRUE(Annotate(absl::OkStatus(), "web1").ok());
}

absl::StatusOr<std::unique_ptr<int>> Make(bool good) {
  if (!good) return absl::NotFoundError("nothing");
  return std::make_unique<int>(7);
}

absl::Status Use(bool good, int* out) {
  ASSIGN_OR_RETURN(std::unique_ptr<int> value, Make(good));
  *out = *value;
  RETURN_IF_ERROR(absl::OkStatus());
  return absl::OkStatus();
}

TEST(AssignOrReturnTest, MovesTheValueOrReturnsTheError) {
  int out = 0;
  EXPECT_TRUE(Use(true, &out).ok());
  EXPECT_EQ(out, 7);
  EXPECT_EQ(Use(false, &out).code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace vmm
