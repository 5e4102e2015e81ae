// Small helpers around absl::Status: a status from errno, and early return.
//
//   if (ioctl(fd, KVM_RUN, 0) < 0) return ErrnoStatus(errno, "KVM_RUN");
//   ASSIGN_OR_RETURN(UniqueFd fd, OpenReadOnly(path));
//   RETURN_IF_ERROR(Check(fd));
#ifndef BASE_STATUS_H_
#define BASE_STATUS_H_

#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace vmm {

// "<what>: <strerror(error)>", with the canonical code that fits `error`. StatusErrno() gives
// `error` back.
absl::Status ErrnoStatus(int error, absl::string_view what);

// The errno that ErrnoStatus() was made from, or 0 when `status` was made otherwise.
int StatusErrno(const absl::Status& status);

// `status` with "<context>: " before its message; OK stays OK.
absl::Status Annotate(const absl::Status& status, absl::string_view context);

}  // namespace vmm

#define VMM_STATUS_CONCAT_INNER(a, b) a##b
#define VMM_STATUS_CONCAT(a, b) VMM_STATUS_CONCAT_INNER(a, b)

#define RETURN_IF_ERROR(expression)                           \
  do {                                                        \
    ::absl::Status vmm_return_if_error_status = (expression); \
    if (!vmm_return_if_error_status.ok()) {                   \
      return vmm_return_if_error_status;                      \
    }                                                         \
  } while (false)

#define ASSIGN_OR_RETURN(declaration, expression) \
  ASSIGN_OR_RETURN_IMPL(VMM_STATUS_CONCAT(vmm_status_or_, __LINE__), declaration, expression)

#define ASSIGN_OR_RETURN_IMPL(temporary, declaration, expression) \
  auto temporary = (expression);                                  \
  if (!temporary.ok()) return std::move(temporary).status();      \
  declaration = *std::move(temporary)

#endif  // BASE_STATUS_H_
