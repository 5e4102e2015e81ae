#include "vmm/boot/byte_source.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace vmm {

absl::Status ByteSource::Read(uint64_t offset, absl::Span<uint8_t> out) const {
  if (offset > size_ || out.size() > size_ - offset) {
    return absl::OutOfRangeError(
        absl::StrCat("cut short: ", out.size(), " bytes wanted at offset ", offset, " of ", size_));
  }
  return ReadWithin(offset, out);
}

absl::StatusOr<FileSource> FileSource::Open(int fd, absl::string_view what) {
  struct stat info;
  if (fstat(fd, &info) < 0) return ErrnoStatus(errno, what);
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(what, " is not a regular file"));
  }
  if (info.st_size <= 0) return absl::InvalidArgumentError(absl::StrCat(what, " is empty"));
  return FileSource(fd, static_cast<uint64_t>(info.st_size));
}

absl::Status FileSource::ReadWithin(uint64_t offset, absl::Span<uint8_t> out) const {
  while (!out.empty()) {
    ssize_t count = pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return ErrnoStatus(errno, "read");
    if (count == 0) return absl::OutOfRangeError("the file shrank while it was read");
    offset += static_cast<uint64_t>(count);
    out.remove_prefix(static_cast<size_t>(count));
  }
  return absl::OkStatus();
}

absl::Status SpanSource::ReadWithin(uint64_t offset, absl::Span<uint8_t> out) const {
  if (!out.empty()) memcpy(out.data(), bytes_.data() + offset, out.size());
  return absl::OkStatus();
}

}  // namespace vmm
