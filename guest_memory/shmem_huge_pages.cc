#include "guest_memory/shmem_huge_pages.h"

#include <fstream>

#include "absl/strings/str_cat.h"

namespace vmm {
namespace {

// The word in brackets: "always [inherit] never" selects "inherit". Empty when there is none, or no
// such file.
std::string SelectedWord(const std::string& path) {
  std::ifstream file(path);
  std::string word;
  while (file >> word) {
    if (word.size() > 2 && word.front() == '[' && word.back() == ']') {
      return word.substr(1, word.size() - 2);
    }
  }
  return "";
}

std::string Refusal(const std::string& path, const std::string& value, const char* wanted) {
  return absl::StrCat("the host gives guest RAM no 2 MiB pages: ", path, " is \"", value,
                      "\"; as root: echo ", wanted, " > ", path);
}

}  // namespace

std::string WhyNoShmemHugePages(const std::string& transparent_hugepage_dir) {
  const std::string all_sizes_path = transparent_hugepage_dir + "/shmem_enabled";
  const std::string this_size_path = transparent_hugepage_dir + "/hugepages-2048kB/shmem_enabled";
  const std::string all_sizes = SelectedWord(all_sizes_path);
  const std::string this_size = SelectedWord(this_size_path);

  if (all_sizes.empty()) {
    return absl::StrCat("the host gives guest RAM no 2 MiB pages: ", all_sizes_path,
                        " cannot be read (a kernel without CONFIG_TRANSPARENT_HUGEPAGE?)");
  }
  if (all_sizes == "deny") return Refusal(all_sizes_path, all_sizes, "advise");
  const bool inherits = this_size.empty() || this_size == "inherit";
  if (inherits && all_sizes == "never") return Refusal(all_sizes_path, all_sizes, "advise");
  // "force" reaches only the sizes that inherit.
  if (!inherits && all_sizes == "force") return Refusal(this_size_path, this_size, "inherit");
  if (this_size == "never") return Refusal(this_size_path, this_size, "advise");
  return "";
}

}  // namespace vmm
