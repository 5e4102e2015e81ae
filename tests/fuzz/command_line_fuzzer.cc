// A next kernel's command line, as an operator gives it or the running kernel has it: whether
// guests would be dropped, and where luoctl appends to it.
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <string>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "tools/luoctl/command_line.h"
#include "tools/luod/next_command_line.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const absl::string_view line(reinterpret_cast<const char*>(data), size);
  constexpr char kGood[] = "kho=on liveupdate=on";
  (void)vmm::CheckNextCommandLine(line, kGood);
  (void)vmm::CheckNextCommandLine(kGood, line);
  // What init is to read says nothing to the kernel.
  if (!vmm::CheckNextCommandLine(absl::StrCat(kGood, " -- ", line), kGood).ok()) abort();
  absl::StatusOr<std::string> reused = vmm::ComposeCommandLine({}, line);
  absl::StatusOr<std::string> appended =
      vmm::ComposeCommandLine({.append = kGood, .replace = ""}, line);
  if (reused.ok() != appended.ok()) abort();
  if (appended.ok() && appended->size() < reused->size() + sizeof(kGood) - 1) abort();
  return 0;
}
