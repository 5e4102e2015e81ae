#include "tools/demonstration/frames.h"

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"

namespace vmm::demonstration {
namespace {

// 1 TiB of guest RAM: this is a demonstration.
constexpr uint64_t kMaxPages = uint64_t{1} << 28;

}  // namespace

absl::StatusOr<FrameMap> ParseFrameMap(absl::string_view text) {
  FrameMap map;
  uint64_t next_page = 0;  // in the memfd
  for (absl::string_view line : absl::StrSplit(text, '\n', absl::SkipEmpty())) {
    std::vector<absl::string_view> words = absl::StrSplit(line, ' ');
    if (words.size() != 4) return absl::InvalidArgumentError(absl::StrCat("not a run: ", line));
    if (words[0] == "pages") {  // the last line: "pages N huge N"
      uint64_t pages;
      if (!absl::SimpleAtoi(words[1], &pages) || !absl::SimpleAtoi(words[3], &map.huge_pages) ||
          pages != map.pfns.size() || map.huge_pages > pages) {
        return absl::InvalidArgumentError(
            absl::StrCat("\"", line, "\" after ", map.pfns.size(), " pages"));
      }
      return map;
    }
    uint64_t page, pfn, pages;
    if (!absl::SimpleAtoi(words[1], &page) || !absl::SimpleHexAtoi(words[2], &pfn) ||
        !absl::SimpleAtoi(words[3], &pages) || pfn == 0 || pages > kMaxPages - map.pfns.size()) {
      return absl::InvalidArgumentError(absl::StrCat("not a run: ", line));
    }
    if (page != 0 && page != next_page) {  // 0 begins another memfd
      return absl::InvalidArgumentError(absl::StrCat("pages are left out before: ", line));
    }
    next_page = page + pages;
    for (uint64_t i = 0; i < pages; ++i) map.pfns.push_back(pfn + i);
  }
  return absl::InvalidArgumentError("the map is cut short");
}

absl::StatusOr<uint64_t> MovedPages(const FrameMap& before, const FrameMap& after) {
  if (before.pfns.size() != after.pfns.size()) {
    return absl::InvalidArgumentError(absl::StrCat("the guest has ", after.pfns.size(),
                                                   " pages, before it had ", before.pfns.size()));
  }
  uint64_t moved = 0;
  for (size_t i = 0; i < before.pfns.size(); ++i) moved += before.pfns[i] != after.pfns[i];
  return moved;
}

}  // namespace vmm::demonstration
