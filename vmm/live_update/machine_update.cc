#include "vmm/live_update/machine_update.h"

#include <sys/stat.h>
#include <x86intrin.h>

#include <algorithm>
#include <chrono>
#include <thread>
#include <utility>

#include "base/status.h"
#include "vmm/live_update/tokens.h"
#include "vmm/state/state_memfd.h"

namespace vmm {
namespace {

using Clock = std::chrono::steady_clock;

uint64_t NanosecondsSince(Clock::time_point start) {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(Clock::now() - start).count();
}

// The guest goes on meanwhile, so not all processors.
int PrefaultThreads() {
  constexpr int kMost = 8;
  return std::clamp(static_cast<int>(std::thread::hardware_concurrency()) / 2, 1, kMost);
}

}  // namespace

uint64_t MachineUpdate::MissingBytes() { return machine_->memory().MissingBytes().value_or(0); }

absl::StatusOr<PrepareReply> MachineUpdate::Prepare(UniqueFd session) {
  const Clock::time_point start = Clock::now();
  if (session_.has_value()) return absl::FailedPreconditionError("already prepared");
  // The kernel would fill holes with 4 KiB folios (Linux 7.3, mm/memfd_luo.c), whose retrieval
  // costs some 50 times as much, inside the blackout. Filled here they become 2 MiB ones where the
  // host gives them.
  RETURN_IF_ERROR(machine_->memory().Prefault(PrefaultThreads(), nullptr));
  luo::LiveUpdateSession preparing(std::move(session));
  uint64_t token = kFirstRamToken;
  for (const MemfdRegion& region : machine_->memory().regions()) {
    if (token > kLastRamToken) return absl::ResourceExhaustedError("too many RAM regions");
    RETURN_IF_ERROR(preparing.PreserveFd(region.fd(), token++));
  }
  session_.emplace(std::move(preparing));
  return PrepareReply{.duration_ns = NanosecondsSince(start),
                      .preserved_bytes = machine_->memory().size()};
}

absl::StatusOr<FreezeReply> MachineUpdate::Freeze() {
  if (!session_.has_value()) return absl::FailedPreconditionError("not prepared");
  if (paused_) return absl::FailedPreconditionError("already frozen");
  const Clock::time_point start = Clock::now();
  FreezeReply reply{.pause_tsc = __rdtsc()};
  machine_->Pause();
  // The last exit before the pause may have been the guest's end. This process is about to go then,
  // but luod may not see that before the kexec, and the next kernel would run a guest that is over.
  // Nor is there anything to let go on in Cancel().
  if (machine_->ended()) return absl::FailedPreconditionError("the VM has ended");
  paused_ = true;
  surroundings_.quiesce();
  ASSIGN_OR_RETURN(Tree state, machine_->Save());
  ASSIGN_OR_RETURN(UniqueFd memfd, WriteStateMemfd(state));
  RETURN_IF_ERROR(session_->PreserveFd(memfd.get(), kStateToken));
  struct stat info = {};
  if (fstat(memfd.get(), &info) == 0) reply.state_bytes = info.st_size;
  reply.duration_ns = NanosecondsSince(start);
  return reply;
}

void MachineUpdate::Cancel() {
  // luod knows, or the connection to it is closed. The guest first: it waits for nothing that the
  // session's end would give it.
  if (std::exchange(paused_, false)) {
    surroundings_.go_on();
    machine_->Resume();
  }
  session_.reset();
}

void MachineUpdate::End() { session_.reset(); }

}  // namespace vmm
