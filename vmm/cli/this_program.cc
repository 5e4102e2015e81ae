#include "vmm/cli/this_program.h"

#include <limits.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"

namespace vmm {
namespace {

bool AreOneFile(const std::string& a, const std::string& b) {
  struct stat of_a = {};
  struct stat of_b = {};
  return stat(a.c_str(), &of_a) == 0 && stat(b.c_str(), &of_b) == 0 && of_a.st_dev == of_b.st_dev &&
         of_a.st_ino == of_b.st_ino;
}

}  // namespace

std::string PathOfThisProgram(const std::string& link) {
  char text[PATH_MAX];
  const ssize_t length = readlink(link.c_str(), text, sizeof(text));
  if (length <= 0) return "vmm";
  const std::string path(text, length);
  // A file may be called so, too.
  if (AreOneFile(path, link)) return path;
  // The kernel's word for a file that was removed or replaced (Linux 7.3, fs/d_path.c).
  return std::string(absl::StripSuffix(path, " (deleted)"));
}

}  // namespace vmm
