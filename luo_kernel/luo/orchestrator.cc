#include "luo_kernel/luo/orchestrator.h"

#include <errno.h>
#include <sys/eventfd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace luo {

absl::string_view StateName(LiveUpdateState state) {
  switch (state) {
    case LiveUpdateState::kNormal:
      return "NORMAL";
    case LiveUpdateState::kPrepared:
      return "PREPARED";
    case LiveUpdateState::kFrozen:
      return "FROZEN";
    case LiveUpdateState::kUpdated:
      return "UPDATED";
  }
  return "?";
}

Orchestrator::Orchestrator() : event_fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)) {}

absl::Status Orchestrator::Require(LiveUpdateState state, absl::string_view step) const {
  if (state_ == state) return absl::OkStatus();
  absl::Status status = vmm::ErrnoStatus(
      EINVAL,
      absl::StrCat(step, " in state ", StateName(state_), " (it wants ", StateName(state), ")"));
  absl::Status failed = absl::FailedPreconditionError(status.message());
  status.ForEachPayload([&failed](absl::string_view url, const absl::Cord& payload) {
    failed.SetPayload(url, payload);
  });
  return failed;
}

void Orchestrator::Enter(LiveUpdateState state) {
  std::vector<Monitor> monitors;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (state_.exchange(state, std::memory_order_acq_rel) == state) return;
    for (const auto& [id, monitor] : monitors_) monitors.push_back(monitor);
  }
  // Fails only when the counter is full, and then it is readable anyway.
  if (event_fd_.valid()) (void)!eventfd_write(event_fd_.get(), 1);
  for (const Monitor& monitor : monitors) monitor(state);
}

absl::Status Orchestrator::Register(absl::string_view name, Participant* participant) {
  std::lock_guard<std::mutex> step(step_mutex_);
  if (state_ != LiveUpdateState::kUpdated) {
    RETURN_IF_ERROR(Require(LiveUpdateState::kNormal, absl::StrCat("register ", name)));
  }
  std::lock_guard<std::mutex> lock(mutex_);
  for (const Member& member : members_) {
    if (member.name == name) {
      return vmm::ErrnoStatus(EEXIST, absl::StrCat("register ", name));
    }
  }
  Member member{std::string(name), participant};
  // One that comes after the update finds what was left for it.
  const auto orphan = std::find_if(orphans_.begin(), orphans_.end(),
                                   [name](const Payload& payload) { return payload.name == name; });
  if (orphan != orphans_.end()) {
    member.payload = orphan->value;
    member.prepared = true;
    orphans_.erase(orphan);
  }
  members_.push_back(std::move(member));
  return absl::OkStatus();
}

absl::Status Orchestrator::Unregister(absl::string_view name) {
  std::lock_guard<std::mutex> step(step_mutex_);
  RETURN_IF_ERROR(Require(LiveUpdateState::kNormal, absl::StrCat("unregister ", name)));
  std::lock_guard<std::mutex> lock(mutex_);
  const auto member = std::find_if(members_.begin(), members_.end(),
                                   [name](const Member& m) { return m.name == name; });
  if (member == members_.end()) {
    return vmm::ErrnoStatus(ENOENT, absl::StrCat("unregister ", name));
  }
  members_.erase(member);
  return absl::OkStatus();
}

void Orchestrator::CancelPrepared() {
  for (auto member = members_.rbegin(); member != members_.rend(); ++member) {
    if (!member->prepared) continue;
    member->participant->Cancel(member->payload);
    std::lock_guard<std::mutex> lock(mutex_);
    member->prepared = false;
    member->payload = 0;
  }
}

absl::Status Orchestrator::Prepare() {
  std::lock_guard<std::mutex> step(step_mutex_);
  RETURN_IF_ERROR(Require(LiveUpdateState::kNormal, "PREPARE"));
  for (Member& member : members_) {
    uint64_t payload = 0;
    if (absl::Status status = member.participant->Prepare(payload); !status.ok()) {
      CancelPrepared();
      return vmm::Annotate(status, absl::StrCat("PREPARE of ", member.name));
    }
    std::lock_guard<std::mutex> lock(mutex_);
    member.payload = payload;
    member.prepared = true;
  }
  Enter(LiveUpdateState::kPrepared);
  return absl::OkStatus();
}

absl::Status Orchestrator::Freeze() {
  std::lock_guard<std::mutex> step(step_mutex_);
  RETURN_IF_ERROR(Require(LiveUpdateState::kPrepared, "FREEZE"));
  for (Member& member : members_) {
    uint64_t payload = member.payload;
    if (absl::Status status = member.participant->Freeze(payload); !status.ok()) {
      CancelPrepared();
      Enter(LiveUpdateState::kNormal);
      return vmm::Annotate(status, absl::StrCat("FREEZE of ", member.name));
    }
    std::lock_guard<std::mutex> lock(mutex_);
    member.payload = payload;
  }
  Enter(LiveUpdateState::kFrozen);
  return absl::OkStatus();
}

absl::Status Orchestrator::Cancel() {
  std::lock_guard<std::mutex> step(step_mutex_);
  if (state_ != LiveUpdateState::kFrozen) {
    RETURN_IF_ERROR(Require(LiveUpdateState::kPrepared, "CANCEL"));
  }
  CancelPrepared();
  Enter(LiveUpdateState::kNormal);
  return absl::OkStatus();
}

absl::Status Orchestrator::Update(const std::vector<Payload>& payloads) {
  std::lock_guard<std::mutex> step(step_mutex_);
  RETURN_IF_ERROR(Require(LiveUpdateState::kNormal, "UPDATE"));
  for (size_t i = 0; i < payloads.size(); ++i) {
    for (size_t j = 0; j < i; ++j) {
      if (payloads[i].name == payloads[j].name) {
        return vmm::ErrnoStatus(EEXIST, absl::StrCat("UPDATE: payload of ", payloads[i].name));
      }
    }
  }
  {
    std::lock_guard<std::mutex> lock(mutex_);
    orphans_ = payloads;
    for (Member& member : members_) {
      const auto mine =
          std::find_if(orphans_.begin(), orphans_.end(),
                       [&member](const Payload& payload) { return payload.name == member.name; });
      if (mine == orphans_.end()) continue;
      member.payload = mine->value;
      member.prepared = true;
      orphans_.erase(mine);
    }
  }
  Enter(LiveUpdateState::kUpdated);
  return absl::OkStatus();
}

absl::Status Orchestrator::Finish() {
  std::lock_guard<std::mutex> step(step_mutex_);
  RETURN_IF_ERROR(Require(LiveUpdateState::kUpdated, "FINISH"));
  if (!orphans_.empty()) {
    return vmm::ErrnoStatus(
        ENOENT, absl::StrCat("FINISH: nobody takes what is left for ", orphans_.front().name));
  }
  for (Member& member : members_) {
    if (!member.prepared) continue;
    RETURN_IF_ERROR(vmm::Annotate(member.participant->Finish(member.payload),
                                  absl::StrCat("FINISH of ", member.name)));
    std::lock_guard<std::mutex> lock(mutex_);
    member.prepared = false;
    member.payload = 0;
  }
  Enter(LiveUpdateState::kNormal);
  return absl::OkStatus();
}

std::vector<Orchestrator::Payload> Orchestrator::payloads() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<Payload> payloads;
  for (const Member& member : members_) payloads.push_back({member.name, member.payload});
  return payloads;
}

absl::StatusOr<int> Orchestrator::event_fd() const {
  if (!event_fd_.valid()) return vmm::ErrnoStatus(EMFILE, "eventfd");
  return event_fd_.get();
}

uint64_t Orchestrator::AddMonitor(Monitor monitor) {
  std::lock_guard<std::mutex> lock(mutex_);
  monitors_.emplace(next_monitor_, std::move(monitor));
  return next_monitor_++;
}

void Orchestrator::RemoveMonitor(uint64_t id) {
  std::lock_guard<std::mutex> lock(mutex_);
  monitors_.erase(id);
}

}  // namespace luo
