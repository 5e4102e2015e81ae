#include "tools/luod/log.h"

#include <poll.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"

namespace vmm {
namespace {

// A pipe that can be written to has room for so much (pipe(7), PIPE_BUF).
constexpr size_t kMaxLine = 4096;

}  // namespace

void LineLog::Write(const std::string& line) {
  pollfd room = {fd_, POLLOUT, 0};
  if (poll(&room, 1, 0) != 1 || (room.revents & POLLOUT) == 0) {
    ++dropped_;
    return;
  }
  std::string text = "luod: ";
  if (dropped_ > 0) absl::StrAppend(&text, "(", dropped_, " lines were not taken) ");
  absl::StrAppend(&text, line);
  text.resize(std::min(text.size(), kMaxLine - 1));
  text += '\n';
  if (write(fd_, text.data(), text.size()) == static_cast<ssize_t>(text.size())) {
    dropped_ = 0;
  } else {
    ++dropped_;
  }
}

void Log(const std::string& line) {
  static LineLog log(STDERR_FILENO);
  log.Write(line);
}

}  // namespace vmm
