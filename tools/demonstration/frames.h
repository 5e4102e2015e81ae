// Where a guest's RAM lies in the host's physical memory, as tests/support/frame_map prints it, and
// whether it still does after an update.
//
//   ASSIGN_OR_RETURN(FrameMap before, ParseFrameMap(text));
//   ASSIGN_OR_RETURN(uint64_t moved, MovedPages(before, after));   // 0: no page was copied
#ifndef TOOLS_DEMONSTRATION_FRAMES_H_
#define TOOLS_DEMONSTRATION_FRAMES_H_

#include <stdint.h>

#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"

namespace vmm::demonstration {

inline constexpr uint64_t kPageBytes = 4096;

struct FrameMap {
  std::vector<uint64_t> pfns;  // of each page, in guest-physical order
  uint64_t huge_pages = 0;     // how many of them lie in 2 MiB folios
};

// kInvalidArgument where the text is cut short, leaves a page out or does not know its frame.
absl::StatusOr<FrameMap> ParseFrameMap(absl::string_view text);

// How many pages lie in another frame than before. kInvalidArgument when they are not as many.
absl::StatusOr<uint64_t> MovedPages(const FrameMap& before, const FrameMap& after);

}  // namespace vmm::demonstration

#endif  // TOOLS_DEMONSTRATION_FRAMES_H_
