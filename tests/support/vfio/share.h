// What programs in the test host tell those outside, by files of the share; for the sources of this
// folder.
#ifndef TESTS_SUPPORT_VFIO_SHARE_H_
#define TESTS_SUPPORT_VFIO_SHARE_H_

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/stat.h>
#include <unistd.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"
#include "base/unique_fd.h"

namespace vmm {

inline absl::Status WriteShare(const std::string& path, const std::string& text) {
  // In one piece: who looks from outside sees all of it or nothing.
  const std::string part = path + ".part";
  const UniqueFd fd(open(part.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644));
  if (!fd.valid()) return ErrnoStatus(errno, part);
  if (write(fd.get(), text.data(), text.size()) != static_cast<ssize_t>(text.size())) {
    return ErrnoStatus(errno, part);
  }
  if (rename(part.c_str(), path.c_str()) < 0) return ErrnoStatus(errno, path);
  return absl::OkStatus();
}

// When the file was written, by the clock outside: CLOCK_REALTIME in nanoseconds, as in frames.
inline absl::StatusOr<uint64_t> ShareTime(const std::string& path) {
  struct stat info;
  if (stat(path.c_str(), &info) < 0) return ErrnoStatus(errno, path);
  return info.st_mtim.tv_sec * uint64_t{1'000'000'000} + info.st_mtim.tv_nsec;
}

// The time outside, now.
inline absl::StatusOr<uint64_t> OutsideNow() {
  const std::string path = "/share/vfio.clock";
  absl::Status status = WriteShare(path, "\n");
  if (!status.ok()) return status;
  return ShareTime(path);
}

}  // namespace vmm

#endif  // TESTS_SUPPORT_VFIO_SHARE_H_
