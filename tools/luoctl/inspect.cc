#include "tools/luoctl/inspect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/inspect/extract.h"
#include "luo_kernel/inspect/handover_reader.h"
#include "luo_kernel/inspect/hosted_memory.h"
#include "luo_kernel/inspect/json.h"
#include "luo_kernel/inspect/memory_image.h"
#include "luo_kernel/inspect/running_kernel.h"
#include "luo_kernel/inspect/salvage.h"
#include "luo_kernel/inspect/text.h"
#include "tools/luoctl/commands.h"

namespace vmm {
namespace {

// What is shown, and the memory it was read from, if there is any.
struct Inspected {
  luo::Report report;
  std::unique_ptr<luo::PhysicalReader> memory;
};

absl::StatusOr<std::optional<uint64_t>> ParseAddress(const std::string& text) {
  if (text.empty()) return std::nullopt;
  uint64_t address;
  if (!absl::SimpleHexAtoi(text, &address)) {
    return absl::InvalidArgumentError(absl::StrCat("--fdt ", text, ": not an address"));
  }
  return address;
}

absl::StatusOr<Inspected> InspectImage(const std::string& path, std::optional<uint64_t> address) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return ErrnoStatus(errno, path);
  absl::StatusOr<std::unique_ptr<luo::MemoryImage>> image = luo::MemoryImage::Open(std::move(fd));
  if (!image.ok()) return Annotate(image.status(), path);
  Inspected inspected;
  inspected.report = luo::ReadHandovers(**image, path, address);
  inspected.report.kernel = (*image)->kernel_release();
  inspected.memory = *std::move(image);
  return inspected;
}

absl::StatusOr<Inspected> InspectHosted(const std::string& path, std::optional<uint64_t> address) {
  ASSIGN_OR_RETURN(std::unique_ptr<luo::HostedMemory> hosted, luo::HostedMemory::Open(path));
  Inspected inspected;
  inspected.report = hosted->ReadReport(path, address);
  inspected.memory = std::move(hosted);
  return inspected;
}

absl::StatusOr<Inspected> Inspect(const InspectOptions& options) {
  ASSIGN_OR_RETURN(const std::optional<uint64_t> address, ParseAddress(options.fdt));
  if (!options.hosted.empty()) return InspectHosted(options.hosted, address);
  if (!options.image.empty()) return InspectImage(options.image, address);
  ASSIGN_OR_RETURN(luo::RunningKernel kernel, luo::ReadRunningKernel(address));
  return Inspected{.report = std::move(kernel.report), .memory = std::move(kernel.memory)};
}

absl::Status Show(const InspectOptions& options) {
  ASSIGN_OR_RETURN(Inspected inspected, Inspect(options));
  if (options.salvage) {
    if (inspected.memory == nullptr) {
      return absl::FailedPreconditionError("--salvage: the memory cannot be read");
    }
    std::optional<luo::HandoverReport> found = luo::Salvage(*inspected.memory);
    if (found.has_value()) inspected.report.handovers.push_back(*std::move(found));
  }
  luo::ExtractedFiles extracted;
  if (!options.extract.empty()) {
    if (inspected.memory == nullptr) {
      return absl::FailedPreconditionError("--extract: the memory cannot be read");
    }
    ASSIGN_OR_RETURN(extracted,
                     luo::ExtractFiles(*inspected.memory, inspected.report, options.extract));
  }
  if (options.json) {
    fputs(luo::Json(inspected.report, &extracted).c_str(), stdout);
    return absl::OkStatus();
  }
  fputs(luo::Text(inspected.report, {.color = isatty(STDOUT_FILENO) == 1, .all = options.all})
            .c_str(),
        stdout);
  if (!options.extract.empty()) {
    printf("%zu files are below %s\n", extracted.size(), options.extract.c_str());
  }
  return absl::OkStatus();
}

}  // namespace

int RunInspect(const InspectOptions& options) {
  const absl::Status status = Show(options);
  if (status.ok()) return kDone;
  fprintf(stderr, "luoctl: %s\n", std::string(status.message()).c_str());
  return kFailed;
}

}  // namespace vmm
