// Participant: the VM's side of a host update. A thread that keeps the VM registered with luod and
// hands luod's requests to a LiveUpdateTarget.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<Participant> participant,
//                    Participant::Create({.connect = [path] { return ConnectTo(path); },
//                                         .registration = {.name = "db", ...},
//                                         .log = PrintLine},
//                                        &machine_update));
//   machine->Resume();
//   participant->Begin(run_tsc);
//
// In two steps, for a resumed guest must not be started before all is there that may be lacking:
// Create() takes what the host may refuse, Begin() cannot fail.
//
// luod may come and go: without one the guest runs on, and a new connection is tried every `retry`.
// When luod is lost between PREPARE and the kexec the update is cancelled; when the VM ends there,
// a paused guest stays so. Let a resumed VM's Participant begin only when its session is finished
// and its vCPUs run (`registration.resumed`): luod lets go of the session then.
#ifndef VMM_LIVE_UPDATE_PARTICIPANT_H_
#define VMM_LIVE_UPDATE_PARTICIPANT_H_

#include <chrono>
#include <functional>
#include <future>
#include <memory>
#include <string>
#include <thread>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "vmm/live_update/messages.h"

namespace vmm {

// What an update asks of a VM. Called on the Participant's thread only, one call at a time.
class LiveUpdateTarget {
 public:
  virtual ~LiveUpdateTarget() = default;

  // How many bytes of the guest's RAM Prepare() would have to allocate; 0 where nobody knows.
  virtual uint64_t MissingBytes() = 0;
  // Preserves the guest's RAM in `session` and keeps it, while the guest runs.
  virtual absl::StatusOr<PrepareReply> Prepare(UniqueFd session) = 0;
  // Pauses the guest, writes the state memfd and preserves it. Only after Prepare(). After OK the
  // guest must not run and its memory must not change until Cancel(), if that comes. On an error
  // the guest may run again or wait for Cancel().
  virtual absl::StatusOr<FreezeReply> Freeze() = 0;
  // Lets the guest run as before Prepare(), closes the session. This or End() is called after any
  // Prepare(), failed or not.
  virtual void Cancel() = 0;
  // The VM ends: closes the session; a guest that is paused stays so. luod may have had its last
  // look before the kexec, and the next kernel then goes on from the state as Freeze() wrote it.
  virtual void End() = 0;
};

class Participant {
 public:
  struct Options {
    std::function<absl::StatusOr<UniqueFd>()> connect;
    RegisterRequest registration;
    std::chrono::milliseconds retry = std::chrono::seconds(1);
    // One line for the operator, from the thread: registered, lost, refused and why (not repeated
    // for each attempt).
    std::function<void(const std::string&)> log = [](const std::string&) {};
  };

  // `target` must outlive the Participant. Nothing is done before Begin().
  static absl::StatusOr<std::unique_ptr<Participant>> Create(Options options,
                                                             LiveUpdateTarget* target);
  // Connects and registers. The vCPUs run since `run_tsc`, as luod is told. Once.
  void Begin(uint64_t run_tsc);
  // The VM ends: ends the thread after the call it is in, if any, closes the connection to luod,
  // and then ends an update in progress.
  ~Participant();

 private:
  Participant(Options options, LiveUpdateTarget* target, UniqueFd stop)
      : options_(std::move(options)), target_(target), stop_(std::move(stop)) {}

  void Run();
  // One connection, from connecting to its loss, whose reason is returned.
  absl::Status Serve();
  absl::Status Register(int socket);
  Message Answer(Message request);
  void CancelUpdate();
  void EndUpdate();
  // Waits for the end of the Participant or something to read from `socket` (-1: none).
  enum class Wake { kStop, kReadable, kTimeout };
  Wake Wait(int socket, std::chrono::milliseconds timeout);

  Options options_;
  LiveUpdateTarget* target_;
  UniqueFd stop_;  // an eventfd: readable means end
  bool begun_ = false;
  std::promise<bool> begin_;  // false: it ends without having begun
  bool updating_ = false;
  std::string last_line_;
  std::thread thread_;
};

}  // namespace vmm

#endif  // VMM_LIVE_UPDATE_PARTICIPANT_H_
