// LiveUpdate: the Live Update Orchestrator of one booted kernel, real or pretended; Session: an
// open session of it. Byte for byte the "luo-v5" of Linux 7.3: it hands over what Linux accepts,
// and takes what Linux hands over.
//
//   // Old kernel.
//   ASSIGN_OR_RETURN(std::shared_ptr<LiveUpdate> luo, LiveUpdate::Boot(&outgoing, nullptr));
//   RETURN_IF_ERROR(luo->RegisterFileHandler(std::make_shared<MemfdHandler>(...)));
//   ASSIGN_OR_RETURN(std::unique_ptr<Session> session, luo->CreateSession("vm-web1"));
//   RETURN_IF_ERROR(session->PreserveFd(1, std::move(memfd)));
//   RETURN_IF_ERROR(luo->Reboot());             // memory is now as a kexec wants it
//
//   // New kernel, over the same memory.
//   ASSIGN_OR_RETURN(std::shared_ptr<LiveUpdate> luo, LiveUpdate::Boot(&outgoing, &incoming));
//   RETURN_IF_ERROR(luo->RegisterFileHandler(...));
//   ASSIGN_OR_RETURN(std::unique_ptr<Session> session, luo->RetrieveSession("vm-web1"));
//   ASSIGN_OR_RETURN(vmm::UniqueFd memfd, session->RetrieveFd(1));
//   RETURN_IF_ERROR(session->Finish());
//
// Ownership: destroying a Session is its last close. An outgoing one unpreserves its files, the
// last preserved first; a retrieved one is finished, and a file that nobody retrieved is given
// back. A Session keeps its LiveUpdate alive; the handovers given to Boot() must outlive both.
//
// Errors carry the errno that Linux has for them (vmm::StatusErrno); uapi.h dispatches ioctls to
// this class. What differs from Linux, where nobody can tell from outside or Linux is in error:
//   - After a successful Reboot() Linux lets everybody wait for the end; here calls fail with
//     ESHUTDOWN, and closing a session leaves what it preserved to the next kernel. CancelReboot()
//     leads back, which Linux cannot.
//   - A failed freeze is undone in reverse order within a session too; Linux goes forward there.
//   - A session refused with EEXIST leaves no empty block behind. Linux 7.3 does, and if the list's
//     last block was full its next kernel then refuses the whole list.
//   - An FLB that nobody asked for is retrieved and finished with its last file. Linux 7.3 would
//     decrement a count that it has not read yet.
//
// Threads: all calls may come from any thread; they are serialised by one lock, held over the
// handlers' calls.
#ifndef LUO_KERNEL_LUO_LIVE_UPDATE_H_
#define LUO_KERNEL_LUO_LIVE_UPDATE_H_

#include <stddef.h>
#include <stdint.h>

#include <atomic>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"
#include "luo_kernel/kho/block_list.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/kho/physical_memory.h"
#include "luo_kernel/luo/file_handler.h"
#include "luo_kernel/luo/file_set.h"
#include "luo_kernel/luo/handler_registry.h"
#include "luo_kernel/luo/image.h"

namespace luo {

class Session;

class LiveUpdate : public std::enable_shared_from_this<LiveUpdate> {
 public:
  // LUO's part of booting: takes what `incoming` has of it (null: this was no kexec), and adds the
  // subtree "LUO" to `outgoing`, whose arena gets the pages back that are no longer needed. Both
  // outlive this.
  //
  // Errors: what cannot be read (kDataLoss, kOutOfRange), another version (EINVAL). Linux panics at
  // either. What cannot be added: kResourceExhausted, or kAlreadyExists for a second LUO.
  static absl::StatusOr<std::shared_ptr<LiveUpdate>> Boot(OutgoingHandover* outgoing,
                                                          IncomingHandover* incoming);
  LiveUpdate(const LiveUpdate&) = delete;
  LiveUpdate& operator=(const LiveUpdate&) = delete;
  ~LiveUpdate();

  // How many live updates this machine has had.
  uint64_t number() const { return number_; }

  // Handlers and FLBs: errors in handler_registry.h. All should be there before the first
  // Deserialize(), which needs a handler for each file that came.
  absl::Status RegisterFileHandler(std::shared_ptr<FileHandler> handler);
  absl::Status UnregisterFileHandler(const FileHandler* handler);
  absl::Status RegisterFlb(const FileHandler* handler, std::shared_ptr<Flb> flb);
  absl::Status UnregisterFlb(const FileHandler* handler, const Flb* flb);
  // A reference to an FLB's live object, to be given back by Put; a file handler's callbacks may
  // call these.
  // Incoming: retrieves it if need be. ENODATA: no FLB came, or it is finished; ENOENT: this one
  // did not come, or is not registered; or what its Retrieve failed with, now or before.
  absl::StatusOr<std::shared_ptr<void>> GetIncomingFlb(const Flb* flb);
  void PutIncomingFlb(const Flb* flb);
  // Outgoing: ENOENT where no file needs it.
  absl::StatusOr<std::shared_ptr<void>> GetOutgoingFlb(const Flb* flb);
  void PutOutgoingFlb(const Flb* flb);

  // Takes /dev/liveupdate, of which there is one: EBUSY while it is taken, EIO where Deserialize()
  // fails.
  absl::Status OpenDevice();
  void CloseDevice();

  // Makes the sessions that the last kernel left. Done once, by the first call; the others say the
  // same again. EINVAL, ENOENT (no handler), EEXIST (two sessions of one name), kDataLoss and
  // kOutOfRange.
  absl::Status Deserialize();

  // A new, empty, outgoing session. `name` has 1 to 63 bytes, none NUL (EINVAL); EEXIST; ENOSPC
  // past 510000 sessions; ENOMEM.
  absl::StatusOr<std::unique_ptr<Session>> CreateSession(absl::string_view name);
  // A session that the last kernel left, as Deserialize() made it: ENOENT; EINVAL when it was
  // retrieved before.
  absl::StatusOr<std::unique_ptr<Session>> RetrieveSession(absl::string_view name);

  // What reboot(KEXEC) asks of LUO: freezes every file of every outgoing session and writes all
  // down. When a handler fails, what is frozen is unfrozen in reverse order and its error returned.
  absl::Status Reboot();
  // Undoes a Reboot() that succeeded.
  void CancelReboot();
  bool rebooting() const;

  // For monitors: what there is now.
  struct SessionInfo {
    std::string name;
    bool incoming = false;
    bool retrieved = false;  // incoming ones
    uint64_t files = 0;
  };
  std::vector<SessionInfo> sessions() const;

 private:
  friend class Session;
  struct SessionState;
  using SessionList = std::list<std::unique_ptr<SessionState>>;

  LiveUpdate(OutgoingHandover* outgoing, IncomingHandover* incoming);

  absl::Status TakeIncoming();
  absl::Status SetUpOutgoing();
  static SessionState& Append(SessionList& list, std::unique_ptr<SessionState> state);
  absl::Status DeserializeOnce();
  absl::Status CheckRunning() const;
  absl::Status WriteRoot(PhysicalAddress sessions);
  absl::Status WriteFlbs(const std::vector<FlbImage>& flbs);
  absl::Status FreezeAll();
  void UnfreezeSessions(size_t count);
  void Release(SessionState* session, bool put_back);

  OutgoingHandover* const outgoing_;
  IncomingHandover* const incoming_;

  // Guards all that follows; of the registry not the FLBs' objects, which it guards itself.
  mutable std::mutex mutex_;
  HandlerRegistry registry_;
  PreservedFiles preserved_files_;
  uint64_t number_ = 0;
  PhysicalAddress root_address_;
  PhysicalAddress flbs_address_;
  SessionList outgoing_sessions_;
  SessionList incoming_sessions_;
  std::map<std::string, SessionState*, std::less<>> outgoing_by_name_;
  std::map<std::string, SessionState*, std::less<>> incoming_by_name_;
  // Has room for outgoing_sessions_, and entries after Reboot() only.
  BlockListWriter session_blocks_;
  // What TakeIncoming() found for DeserializeOnce().
  BlockList incoming_blocks_;
  std::optional<absl::Status> deserialized_;
  bool device_open_ = false;
  bool rebooting_ = false;
};

// An open session. Not for two threads to destroy and use; else as LiveUpdate.
class Session {
 public:
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  // The last close.
  ~Session();

  const std::string& name() const { return name_; }
  // Retrieved, not created.
  bool incoming() const { return incoming_; }

  // Outgoing: keeps `file` for the next kernel under `token`. EINVAL (incoming), EEXIST (the token
  // is taken), ENOSPC (630000 files), ENOENT (no handler knows such a file), EBUSY (it is preserved
  // already, or was retrieved and is not finished), ENOMEM, and what an FLB or the handler says.
  absl::Status PreserveFd(uint64_t token, vmm::UniqueFd file);
  // `take` is asked for the file when it is needed, after the checks that come before: its error is
  // returned as it is.
  absl::Status PreserveFd(uint64_t token,
                          const std::function<absl::StatusOr<vmm::UniqueFd>()>& take);

  // Incoming: the file under `token`; a second call gives another descriptor of the same open file.
  // EINVAL (outgoing), ENOENT, or what the handler said at the first try.
  absl::StatusOr<vmm::UniqueFd> RetrieveFd(uint64_t token);
  // Incoming: gives all up: files that were retrieved to those who have them, others to nobody.
  // EINVAL (outgoing), EBUSY where a handler cannot finish yet; then nothing was done.
  absl::Status Finish();

  // Until the flag that this returns is set, destroying a retrieved session makes it as if it had
  // not been retrieved, instead of finishing it.
  std::shared_ptr<std::atomic<bool>> PutBackUnlessKept();

 private:
  friend class LiveUpdate;
  Session(std::shared_ptr<LiveUpdate> live_update, LiveUpdate::SessionState* state, bool incoming);

  const std::shared_ptr<LiveUpdate> live_update_;
  LiveUpdate::SessionState* const state_;
  const std::string name_;
  const bool incoming_;
  std::shared_ptr<std::atomic<bool>> kept_;
};

}  // namespace luo

#endif  // LUO_KERNEL_LUO_LIVE_UPDATE_H_
