#include "base/thread.h"

#include <system_error>
#include <utility>

#include "base/status.h"

namespace vmm {

absl::StatusOr<std::thread> StartThread(std::function<void()> body) {
  try {
    return std::thread(std::move(body));
  } catch (const std::system_error& error) {
    return ErrnoStatus(error.code().value(), "cannot start a thread");
  }
}

}  // namespace vmm
