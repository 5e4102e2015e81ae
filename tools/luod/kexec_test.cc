#include "tools/luod/kexec.h"

#include <errno.h>
#include <gtest/gtest.h>

#include <string>

#include "base/status.h"

namespace vmm {
namespace {

TEST(KexecTest, LoadErrorsSayWhatToDo) {
  absl::Status no_room = ExplainLoadError(EADDRNOTAVAIL);
  EXPECT_NE(no_room.message().find("kho_scratch="), absl::string_view::npos);
  EXPECT_NE(ExplainLoadError(ENOEXEC).message().find("not a kernel"), absl::string_view::npos);
  EXPECT_NE(ExplainLoadError(EPERM).message().find("CAP_SYS_BOOT"), absl::string_view::npos);
  for (int error : {EADDRNOTAVAIL, ENOEXEC, EPERM, EBUSY, ENOSYS, EKEYREJECTED, EINVAL, ENOMEM}) {
    EXPECT_EQ(StatusErrno(ExplainLoadError(error)), error);
  }
}

TEST(KexecTest, RefusesACommandLineTheKernelWouldCut) {
  EXPECT_EQ(SystemKexec().Load(-1, -1, std::string(kMaxCommandLine + 1, 'x')).code(),
            absl::StatusCode::kInvalidArgument);
}

TEST(KexecTest, NoKernelIsNeverLoaded) { EXPECT_FALSE(SystemKexec().Load(-1, -1, "quiet").ok()); }

}  // namespace
}  // namespace vmm
