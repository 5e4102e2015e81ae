// Starting a thread where there may be no room for one more: std::thread's constructor throws then,
// and nobody here catches.
//
//   ASSIGN_OR_RETURN(thread_, StartThread([this] { Main(); }));
#ifndef BASE_THREAD_H_
#define BASE_THREAD_H_

#include <functional>
#include <thread>

#include "absl/status/statusor.h"

namespace vmm {

// Fails as pthread_create(3) does.
absl::StatusOr<std::thread> StartThread(std::function<void()> body);

}  // namespace vmm

#endif  // BASE_THREAD_H_
