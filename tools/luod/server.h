// Server: luod's one loop. Takes connections of vmm and luoctl, hands VMs' answers to the Update
// and resumed VMs to the Restore, answers luoctl, reaps children, obeys signals.
//
//   Server server(environment, std::move(listener), std::move(signals), std::move(restore));
//   while (!server.stopped()) server.Step(std::chrono::milliseconds(100));
//
// Single-threaded, never blocks on a peer. At most one update at a time, and none while a VM still
// awaits its resume. A VM that is not registered would be lost in an update. So one that wants to
// register while an update is under way ends it (and tries again a second later), an update that is
// asked for in the first moments of a luod waits for them to be over, and there is none soon after
// a VM was refused. When the luoctl that asked for an update goes away, the update is cancelled;
// all that has arrived is heard before each step that matters.
//
// SIGTERM and SIGINT end luod: an update is cancelled first; VMs run on and find the next luod by
// themselves. While a VM awaits its resume luod's hold on its session may be all that keeps it:
// then luod ends as soon as none does.
#ifndef TOOLS_LUOD_SERVER_H_
#define TOOLS_LUOD_SERVER_H_

#include <chrono>
#include <functional>
#include <list>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "base/unique_fd.h"
#include "tools/luod/host.h"
#include "tools/luod/kexec.h"
#include "tools/luod/restore.h"
#include "tools/luod/sessions.h"
#include "tools/luod/update.h"
#include "vmm/live_update/messages.h"

namespace vmm {

class Server {
 public:
  // What is pointed to must outlive the Server.
  struct Environment {
    Sessions* sessions;
    Kexec* kexec;
    Host* host;
    const Clock* clock;
    std::function<void(const std::string&)> log;
    std::chrono::milliseconds vm_timeout;
    // How long a VM that runs may take to find a new luod, or to try again.
    std::chrono::milliseconds settling_time;
    std::string kernel_release;  // uname -r
  };

  // `listener` and `signals` (a signalfd of SIGTERM, SIGINT and SIGCHLD; may be none) are
  // non-blocking.
  Server(Environment environment, UniqueFd listener, UniqueFd signals, Restore restore);
  ~Server();

  // Waits at most `timeout` for something to happen and deals with it.
  void Step(std::chrono::milliseconds timeout);
  void RequestStop();
  bool stopped() const { return stopped_; }
  // Whether guests stand still until luod has dealt with them.
  bool resuming() const { return restore_.resuming(); }

 private:
  class Connection;

  void Accept();
  void ReadSignals();
  void ReapChildren();
  // False when the connection has to go.
  bool Read(Connection& connection);
  absl::Status Dispatch(Connection& connection, Message message);
  void Drop(Connection& connection);
  // Each answers `connection`, now or, for an upgrade, when it is done.
  absl::Status Register(Connection& connection, const Message& message);
  void Upgrade(Connection& connection, Message message);
  // Ends the waiting update's waiting, with this answer.
  void RefuseWaiting(const absl::Status& why);
  void SendStatus(Connection& connection, uint32_t request);
  void Reply(Connection& connection, uint32_t request, const absl::Status& status);
  void EndUpdateIfDone();
  absl::Status CheckUpgradeAllowed() const;
  // Of a VM that wants to be registered.
  absl::Status CheckRegistrationAllowed(const RegisterRequest& registration);
  Connection* FindVm(absl::string_view name);

  Environment environment_;
  UniqueFd listener_;
  UniqueFd signals_;
  Restore restore_;
  std::list<Connection> connections_;
  std::optional<Update> update_;
  Connection* requester_ = nullptr;  // of update_; null when it went away
  uint32_t requester_request_ = 0;
  Clock::TimePoint started_;
  // The last VM that was refused, and when and why.
  struct Refusal {
    std::string name;
    Clock::TimePoint time;
    std::string why;
  };
  std::optional<Refusal> refusal_;
  // An UPGRADE that came before VMs had time to find this luod.
  struct Waiting {
    Connection* connection;
    Message message;
  };
  std::optional<Waiting> waiting_;
  bool stopping_ = false;
  bool stops_when_settled_ = false;
  bool stopped_ = false;
};

}  // namespace vmm

#endif  // TOOLS_LUOD_SERVER_H_
