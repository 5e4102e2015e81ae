#include "luo_kernel/client/live_update_client.h"

#include <errno.h>
#include <linux/liveupdate.h>
#include <string.h>
#include <sys/ioctl.h>

#include "absl/strings/str_format.h"
#include "luo_kernel/client/explained_error.h"

namespace luo {
namespace {

static_assert(kMaxSessionNameLength + 1 == LIVEUPDATE_SESSION_NAME_LENGTH);

// What an errno means whatever the request.
absl::string_view WhyNot(int error) {
  switch (error) {
    case ENOTTY:
      return "the descriptor is not a live update session";
    case ENOMEM:
      return "the kernel is out of memory, or this process's memory cgroup is at its limit";
    default:
      return "";
  }
}

absl::string_view WhyNotPreserved(int error) {
  switch (error) {
    case EEXIST:
      return "the session holds another file under this token";
    case EBUSY:
      return "the file is preserved already, or its incoming session is not finished yet";
    case ENOENT:
      return "the kernel cannot preserve this kind of file (a memfd can be; with MFD_HUGETLB it "
             "cannot)";
    case ENOSPC:
      return "the session is full";
    case EINVAL:
      return "the session is an incoming one, or a page of the file cannot be handed over";
    case EOPNOTSUPP:
      return "the memfd has seals that this kernel does not preserve";
    case EFBIG:
      return "the memfd has more pages than can be preserved";
    default:
      return WhyNot(error);
  }
}

absl::string_view WhyNotRetrieved(int error) {
  switch (error) {
    case ENOENT:
      return "the session holds no file under this token, or is finished";
    case EINVAL:
      return "the session is an outgoing one, or what was handed over is damaged";
    case EIO:
      return "a page did not survive the handover; the contents are lost";
    case EOPNOTSUPP:
      return "the memfd has seals that this kernel does not know";
    default:
      return WhyNot(error);
  }
}

absl::string_view WhyNotFinished(int error) {
  switch (error) {
    case EBUSY:
      return "a file is not ready to be let go of; try again later";
    case EINVAL:
      return "the session is an outgoing one";
    default:
      return WhyNot(error);
  }
}

}  // namespace

absl::Status LiveUpdateSession::PreserveFd(int fd, uint64_t token) {
  liveupdate_session_preserve_fd request = {};
  request.size = sizeof(request);
  request.fd = fd;
  request.token = token;
  if (ioctl(fd_.get(), LIVEUPDATE_SESSION_PRESERVE_FD, &request) < 0) {
    const int error = errno;
    return ExplainedError(error, absl::StrFormat("preserve descriptor %d as token %#x", fd, token),
                          WhyNotPreserved(error));
  }
  return absl::OkStatus();
}

absl::StatusOr<vmm::UniqueFd> LiveUpdateSession::RetrieveFd(uint64_t token) {
  liveupdate_session_retrieve_fd request = {};
  request.size = sizeof(request);
  request.token = token;
  if (ioctl(fd_.get(), LIVEUPDATE_SESSION_RETRIEVE_FD, &request) < 0) {
    const int error = errno;
    return ExplainedError(error, absl::StrFormat("retrieve token %#x", token),
                          WhyNotRetrieved(error));
  }
  return vmm::UniqueFd(request.fd);
}

absl::Status LiveUpdateSession::Finish() {
  liveupdate_session_finish request = {};
  request.size = sizeof(request);
  if (ioctl(fd_.get(), LIVEUPDATE_SESSION_FINISH, &request) < 0) {
    const int error = errno;
    return ExplainedError(error, "finish the session", WhyNotFinished(error));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> LiveUpdateSession::Name() const {
  liveupdate_session_get_name request = {};
  request.size = sizeof(request);
  if (ioctl(fd_.get(), LIVEUPDATE_SESSION_GET_NAME, &request) < 0) {
    const int error = errno;
    return ExplainedError(error, "get the session's name", WhyNot(error));
  }
  const char* name = reinterpret_cast<const char*>(request.name);
  return std::string(name, strnlen(name, sizeof(request.name)));
}

}  // namespace luo
