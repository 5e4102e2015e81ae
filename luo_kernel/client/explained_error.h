// ExplainedError: an errno of LUO with what it means for this very call, for the sources of this
// folder.
//
//   return ExplainedError(error, "retrieve token 0x1", WhyNotRetrieved(error));
#ifndef LUO_KERNEL_CLIENT_EXPLAINED_ERROR_H_
#define LUO_KERNEL_CLIENT_EXPLAINED_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace luo {

// "<what>: <why>: <strerror>"; `why` is "" where the errno says it all.
inline absl::Status ExplainedError(int error, absl::string_view what, absl::string_view why) {
  return vmm::ErrnoStatus(error, why.empty() ? std::string(what) : absl::StrCat(what, ": ", why));
}

}  // namespace luo

#endif  // LUO_KERNEL_CLIENT_EXPLAINED_ERROR_H_
