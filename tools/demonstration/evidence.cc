#include "tools/demonstration/evidence.h"

#include <fstream>
#include <iterator>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "base/status.h"

namespace vmm::demonstration {
namespace {

// The host's kernels: at power-on, after the bare kexec, after the update.
constexpr int kKernels = 3;

absl::StatusOr<std::string> ReadText(const std::string& path) {
  std::ifstream file(path);
  if (!file) return absl::NotFoundError("it is not there");
  return std::string(std::istreambuf_iterator<char>(file), {});
}

absl::StatusOr<FrameMap> ReadFrames(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, ReadText(path));
  return ParseFrameMap(text);
}

absl::StatusOr<int64_t> ReadNumber(const std::string& path) {
  ASSIGN_OR_RETURN(std::string text, ReadText(path));
  int64_t number;
  if (!absl::SimpleAtoi(text, &number)) return absl::InvalidArgumentError("it is no number");
  return number;
}

std::string ScenarioFailure(absl::string_view host_console) {
  for (absl::string_view line : absl::StrSplit(host_console, '\n')) {
    if (absl::ConsumePrefix(&line, "FAIL: ")) return std::string(line);
  }
  return "";
}

}  // namespace

Evidence ReadEvidence(const std::string& share) {
  Evidence evidence;
  const std::string folder = absl::StrCat(share, "/evidence/");
  auto take = [&evidence](const std::string& what, auto found, auto& into) {
    if (found.ok()) {
      into = *std::move(found);
    } else {
      evidence.missing.push_back(absl::StrCat(what, ": ", found.status().message()));
    }
  };
  for (int i = 0; i < kKernels; ++i) {
    std::string kernel, boot_id;
    take(absl::StrCat("release of host kernel ", i), ReadText(absl::StrCat(folder, "kernel.", i)),
         kernel);
    take(absl::StrCat("boot id of host kernel ", i), ReadText(absl::StrCat(folder, "boot-id.", i)),
         boot_id);
    evidence.kernels.emplace_back(absl::StripAsciiWhitespace(kernel));
    evidence.boot_ids.emplace_back(absl::StripAsciiWhitespace(boot_id));
  }
  take("luod's record of the bare kexec", LoadManifest(folder + "bare.manifest"), evidence.bare);
  take("luod's record of the update", LoadManifest(folder + "update.manifest"), evidence.update);
  take("the guest's frames at first", ReadFrames(folder + "frames.started"),
       evidence.frames_started);
  take("the guest's frames before the update", ReadFrames(folder + "frames.before"),
       evidence.frames_before);
  take("the guest's frames after the update", ReadFrames(folder + "frames.after"),
       evidence.frames_after);
  take("the guest's TSC offset before the update", ReadNumber(folder + "tsc-offset.before"),
       evidence.tsc_offset_before);
  take("the guest's TSC offset after the update", ReadNumber(folder + "tsc-offset.after"),
       evidence.tsc_offset_after);
  std::string text;
  take("the host's accelerator", ReadText(share + "/accelerator"), text);
  evidence.accelerator = std::string(absl::StripAsciiWhitespace(text));
  text.clear();
  take("the guest's console", ReadText(share + "/web1.console.log"), text);
  evidence.console = ParseGuestConsole(text);
  text.clear();
  take("the host's console", ReadText(share + "/console.log"), text);
  evidence.scenario_failure = ScenarioFailure(text);
  return evidence;
}

}  // namespace vmm::demonstration
