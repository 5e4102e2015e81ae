// Tells the service manager that started luod that it is ready: that no guest stands still any
// more. What the manager orders after luod then leaves the processor to the guests' return.
// systemd's protocol, sd_notify(3), which says that it is stable and may be spoken without its
// library: one datagram to the socket that $NOTIFY_SOCKET names, a path or, after an @, an abstract
// name.
//
//   absl::Status told = NotifyReady("/run/systemd/notify");
#ifndef TOOLS_LUOD_READINESS_H_
#define TOOLS_LUOD_READINESS_H_

#include <string>

#include "absl/status/status.h"

namespace vmm {

// Does nothing, and says OK, for an empty `address`: nobody asked. Never waits: kUnavailable when
// the manager has too much to read as it is.
absl::Status NotifyReady(const std::string& address);

}  // namespace vmm

#endif  // TOOLS_LUOD_READINESS_H_
