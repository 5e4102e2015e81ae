#include "luo_kernel/inspect/extract.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace luo {
namespace {

using ::vmm::ErrnoStatus;
using ::vmm::UniqueFd;

constexpr uint64_t kPage = 4096;
constexpr uint64_t kChunk = 1 << 20;

absl::Status MakeFolder(const std::string& path) {
  if (mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return absl::OkStatus();
  return ErrnoStatus(errno, path);
}

// The part of `run` that is the file's.
absl::Status ExtractRun(const PhysicalReader& memory, const FolioRun& run, uint64_t file_size,
                        int fd, uint64_t* unread) {
  std::vector<uint8_t> chunk(kChunk);
  if (run.index > INT64_MAX / kPage) return absl::OkStatus();
  const uint64_t start = run.index * kPage;
  const uint64_t size = start < file_size ? std::min(run.size(), file_size - start) : 0;
  for (uint64_t offset = 0; offset < size; offset += kChunk) {
    const absl::Span<uint8_t> bytes = absl::MakeSpan(chunk).first(std::min(kChunk, size - offset));
    if (!memory.Read(run.address + offset, bytes).ok()) {
      *unread += bytes.size();
      continue;
    }
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), start + offset);
    if (written < 0) return ErrnoStatus(errno, "write");
    if (static_cast<size_t>(written) != bytes.size()) {
      return absl::ResourceExhaustedError("write: cut off");
    }
  }
  return absl::OkStatus();
}

absl::Status ExtractMemfd(const PhysicalReader& memory, const MemfdReport& memfd,
                          const std::string& path, Problems& problems) {
  UniqueFd fd(open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600));
  if (!fd.valid()) return ErrnoStatus(errno, path);
  // A size that no file can have is told, the rest gone on with.
  if (memfd.size > INT64_MAX || ftruncate(fd.get(), static_cast<off_t>(memfd.size)) < 0) {
    problems.Add(absl::StrCat(path, ": cannot have ", memfd.size, " bytes"));
    return absl::OkStatus();
  }
  uint64_t unread = 0;
  for (const FolioRun& run : memfd.folios) {
    RETURN_IF_ERROR(vmm::Annotate(ExtractRun(memory, run, memfd.size, fd.get(), &unread), path));
  }
  if (unread != 0) problems.Add(absl::StrCat(path, ": ", unread, " bytes could not be read"));
  return absl::OkStatus();
}

}  // namespace

std::string SessionFolder(const std::string& session) {
  std::string folder;
  for (const char c : session) {
    const bool first = folder.empty();
    if (absl::ascii_isalnum(c) || c == '-' || c == '_' || (c == '.' && !first)) {
      folder += c;
    } else {
      absl::StrAppendFormat(&folder, "%%%02X", static_cast<uint8_t>(c));
    }
  }
  return folder.empty() ? "%" : folder;
}

absl::StatusOr<ExtractedFiles> ExtractFiles(const PhysicalReader& memory, Report& report,
                                            const std::string& folder) {
  ExtractedFiles extracted;
  RETURN_IF_ERROR(MakeFolder(folder));
  for (HandoverReport& handover : report.handovers) {
    if (!handover.luo.has_value()) continue;
    const std::string top = absl::StrFormat("%s/%x", folder, handover.address);
    RETURN_IF_ERROR(MakeFolder(top));
    for (const MemfdReport& memfd : handover.unassigned) {
      const std::string path = absl::StrFormat("%s/at-%x", top, memfd.address);
      RETURN_IF_ERROR(ExtractMemfd(memory, memfd, path, handover.problems));
      extracted.emplace(memfd.address, path);
    }
    for (const SessionReport& session : handover.luo->sessions) {
      const std::string below = absl::StrCat(top, "/", SessionFolder(session.name));
      RETURN_IF_ERROR(MakeFolder(below));
      for (const FileReport& file : session.files) {
        if (!file.memfd.has_value()) continue;
        const std::string path = absl::StrFormat("%s/%x", below, file.token);
        RETURN_IF_ERROR(ExtractMemfd(memory, *file.memfd, path, handover.problems));
        extracted.emplace(file.memfd->address, path);
      }
    }
  }
  return extracted;
}

}  // namespace luo
