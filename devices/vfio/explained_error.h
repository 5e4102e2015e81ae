// ExplainedError: an errno of VFIO or iommufd with what it means for this very call, for the
// sources of this folder.
//
//   return ExplainedError(error, "bind /dev/vfio/devices/vfio0", WhyNotBound(error));
#ifndef DEVICES_VFIO_EXPLAINED_ERROR_H_
#define DEVICES_VFIO_EXPLAINED_ERROR_H_

#include <string>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace vmm {

// "<what>: <why>: <strerror>"; `why` is "" where the errno says it all.
inline absl::Status ExplainedError(int error, absl::string_view what, absl::string_view why) {
  return ErrnoStatus(error, why.empty() ? std::string(what) : absl::StrCat(what, ": ", why));
}

}  // namespace vmm

#endif  // DEVICES_VFIO_EXPLAINED_ERROR_H_
