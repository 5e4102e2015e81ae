#include "luo_kernel/client/kernel_live_update.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/liveupdate.h>
#include <string.h>
#include <sys/ioctl.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "luo_kernel/client/explained_error.h"

namespace luo {
namespace {

absl::string_view WhyNotOpened(int error) {
  switch (error) {
    case ENOENT:
    case ENODEV:
    case ENXIO:
      return "the kernel has no CONFIG_LIVEUPDATE, or was booted without liveupdate=on (and "
             "kho=on)";
    case EBUSY:
      return "another process owns it; is luod already running?";
    case EIO:
      return "the kernel could not read what the previous one handed over; it will not try again";
    case EACCES:
    case EPERM:
      return "only root may open it";
    default:
      return "";
  }
}

// CREATE_SESSION and RETRIEVE_SESSION have requests of one shape: a name goes in, a descriptor
// comes out.
template <typename Request>
absl::StatusOr<LiveUpdateSession> SessionByName(int device, unsigned long command,
                                                absl::string_view verb, absl::string_view name,
                                                absl::string_view (*why_not)(int error)) {
  if (name.empty() || name.size() > kMaxSessionNameLength || absl::StrContains(name, '\0')) {
    return absl::InvalidArgumentError(absl::StrCat(verb, " session: a name of ", name.size(),
                                                   " bytes; it must have 1 to ",
                                                   kMaxSessionNameLength, ", none of them NUL"));
  }
  Request request = {};
  request.size = sizeof(request);
  memcpy(request.name, name.data(), name.size());
  if (ioctl(device, command, &request) < 0) {
    const int error = errno;
    return ExplainedError(error, absl::StrCat(verb, " session \"", name, "\""),
                          error == ENOTTY ? "the device is not /dev/liveupdate" : why_not(error));
  }
  return LiveUpdateSession(vmm::UniqueFd(request.fd));
}

absl::string_view WhyNotCreated(int error) {
  switch (error) {
    case EEXIST:
      return "an outgoing session has this name";
    case ENOSPC:
      return "there are as many sessions as the kernel can hand over";
    default:
      return "";
  }
}

absl::string_view WhyNotRetrieved(int error) {
  switch (error) {
    case ENOENT:
      return "the previous kernel handed none over by this name, or it is closed already";
    case EINVAL:
      return "it is retrieved already, and still held by somebody";
    default:
      return "";
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<KernelLiveUpdate>> KernelLiveUpdate::Open(const std::string& path) {
  vmm::UniqueFd device(open(path.c_str(), O_RDWR | O_CLOEXEC));
  if (!device.valid()) {
    const int error = errno;
    return ExplainedError(error, absl::StrCat("open ", path), WhyNotOpened(error));
  }
  return std::unique_ptr<KernelLiveUpdate>(new KernelLiveUpdate(std::move(device)));
}

absl::StatusOr<LiveUpdateSession> KernelLiveUpdate::CreateSession(absl::string_view name) {
  return SessionByName<liveupdate_ioctl_create_session>(
      device_.get(), LIVEUPDATE_IOCTL_CREATE_SESSION, "create", name, WhyNotCreated);
}

absl::StatusOr<LiveUpdateSession> KernelLiveUpdate::RetrieveSession(absl::string_view name) {
  return SessionByName<liveupdate_ioctl_retrieve_session>(
      device_.get(), LIVEUPDATE_IOCTL_RETRIEVE_SESSION, "retrieve", name, WhyNotRetrieved);
}

}  // namespace luo
