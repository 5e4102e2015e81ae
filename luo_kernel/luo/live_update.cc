#include "luo_kernel/luo/live_update.h"

#include <errno.h>
#include <string.h>

#include <iterator>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/luo/restore_free.h"

namespace luo {

struct LiveUpdate::SessionState {
  SessionState(std::string session_name, OutgoingHandover* outgoing, HandlerRegistry* registry,
               PreservedFiles* preserved, bool from_before)
      : name(std::move(session_name)),
        incoming(from_before),
        files(outgoing, registry, preserved) {}

  const std::string name;
  const bool incoming;
  bool retrieved = false;
  // Closed after a Reboot(): what CancelReboot() has to release.
  bool closed = false;
  FileSet files;
  // Where in its list it is.
  SessionList::iterator self;
};

namespace {

constexpr uint64_t kMaxSessions =
    abi::kMaxBlocks * abi::EntriesPerBlock(sizeof(abi::LuoSessionSer));

}  // namespace

LiveUpdate::LiveUpdate(OutgoingHandover* outgoing, IncomingHandover* incoming)
    : outgoing_(outgoing),
      incoming_(incoming),
      session_blocks_(outgoing, sizeof(abi::LuoSessionSer)) {}

LiveUpdate::~LiveUpdate() = default;

absl::StatusOr<std::shared_ptr<LiveUpdate>> LiveUpdate::Boot(OutgoingHandover* outgoing,
                                                             IncomingHandover* incoming) {
  std::shared_ptr<LiveUpdate> luo(new LiveUpdate(outgoing, incoming));
  if (incoming != nullptr) RETURN_IF_ERROR(luo->TakeIncoming());
  RETURN_IF_ERROR(luo->SetUpOutgoing());
  return luo;
}

absl::Status LiveUpdate::TakeIncoming() {
  const absl::StatusOr<Subtree> subtree = incoming_->FindSubtree(abi::kLuoSubtree);
  if (!subtree.ok()) {
    return absl::IsNotFound(subtree.status()) ? absl::OkStatus() : subtree.status();
  }
  if (subtree->size < sizeof(abi::LuoSer)) {
    return vmm::ErrnoStatus(EINVAL, absl::StrCat("LUO's root has ", subtree->size, " bytes"));
  }
  const PhysicalMemory& memory = incoming_->memory();
  ASSIGN_OR_RETURN(const auto root, ReadStruct<abi::LuoSer>(memory, subtree->address));
  const absl::string_view version(root.compatible,
                                  strnlen(root.compatible, sizeof(root.compatible)));
  if (version != abi::kLuoCompatible) {
    return vmm::ErrnoStatus(EINVAL, absl::StrCat("LUO of version '", version, "'"));
  }
  number_ = root.liveupdate_num;
  ASSIGN_OR_RETURN(incoming_blocks_, ReadBlockList(memory, PhysicalAddress(root.sessions_pa),
                                                   sizeof(abi::LuoSessionSer)));
  Arena& arena = outgoing_->arena();
  if (root.flbs_pa != 0) {
    const PhysicalAddress flbs(root.flbs_pa);
    ASSIGN_OR_RETURN(std::vector<FlbImage> images, ReadFlbs(memory, flbs));
    registry_.SetIncoming(std::move(images));
    RETURN_IF_ERROR(RestoreFree(*incoming_, arena, flbs));
  }
  return RestoreFree(*incoming_, arena, subtree->address);
}

absl::Status LiveUpdate::SetUpOutgoing() {
  ASSIGN_OR_RETURN(root_address_, outgoing_->AllocatePreserved(sizeof(abi::LuoSer)));
  absl::StatusOr<PhysicalAddress> flbs =
      outgoing_->AllocatePreserved(abi::kLuoFlbPages * abi::kPageSize);
  absl::Status status = flbs.status();
  if (status.ok()) {
    flbs_address_ = *flbs;
    status.Update(WriteRoot(PhysicalAddress(0)));
    status.Update(WriteFlbs({}));
    if (status.ok()) {
      status = outgoing_->AddSubtree(abi::kLuoSubtree, root_address_, sizeof(abi::LuoSer));
    }
    if (!status.ok()) {
      (void)outgoing_->FreePreserved(flbs_address_, abi::kLuoFlbPages * abi::kPageSize);
    }
  }
  if (!status.ok()) (void)outgoing_->FreePreserved(root_address_, sizeof(abi::LuoSer));
  return status;
}

absl::Status LiveUpdate::WriteRoot(PhysicalAddress sessions) {
  abi::LuoSer root = {};
  memcpy(root.compatible, abi::kLuoCompatible, sizeof(abi::kLuoCompatible));
  root.liveupdate_num = number_ + 1;
  root.sessions_pa = sessions.value();
  root.flbs_pa = flbs_address_.value();
  return WriteStruct(outgoing_->memory(), root_address_, root);
}

absl::Status LiveUpdate::WriteFlbs(const std::vector<FlbImage>& flbs) {
  WritablePhysicalMemory& memory = outgoing_->memory();
  PhysicalAddress at(flbs_address_.value() + sizeof(abi::LuoFlbHeaderSer));
  for (const FlbImage& flb : flbs) {
    abi::LuoFlbSer ser = {};
    memcpy(ser.name, flb.name.data(), flb.name.size());
    ser.data = flb.data;
    ser.count = flb.count;
    RETURN_IF_ERROR(WriteStruct(memory, at, ser));
    at = PhysicalAddress(at.value() + sizeof(ser));
  }
  return WriteStruct(memory, flbs_address_, abi::LuoFlbHeaderSer{abi::kLuoFlbPages, flbs.size()});
}

absl::Status LiveUpdate::RegisterFileHandler(std::shared_ptr<FileHandler> handler) {
  std::lock_guard<std::mutex> lock(mutex_);
  return registry_.RegisterFileHandler(std::move(handler));
}

absl::Status LiveUpdate::UnregisterFileHandler(const FileHandler* handler) {
  std::lock_guard<std::mutex> lock(mutex_);
  return registry_.UnregisterFileHandler(handler);
}

absl::Status LiveUpdate::RegisterFlb(const FileHandler* handler, std::shared_ptr<Flb> flb) {
  std::lock_guard<std::mutex> lock(mutex_);
  return registry_.RegisterFlb(handler, std::move(flb));
}

absl::Status LiveUpdate::UnregisterFlb(const FileHandler* handler, const Flb* flb) {
  std::lock_guard<std::mutex> lock(mutex_);
  return registry_.UnregisterFlb(handler, flb);
}

absl::StatusOr<std::shared_ptr<void>> LiveUpdate::GetIncomingFlb(const Flb* flb) {
  return registry_.GetIncomingFlb(flb);
}

void LiveUpdate::PutIncomingFlb(const Flb* flb) { registry_.PutIncomingFlb(flb); }

absl::StatusOr<std::shared_ptr<void>> LiveUpdate::GetOutgoingFlb(const Flb* flb) {
  return registry_.GetOutgoingFlb(flb);
}

void LiveUpdate::PutOutgoingFlb(const Flb* flb) { registry_.PutOutgoingFlb(flb); }

absl::Status LiveUpdate::CheckRunning() const {
  return rebooting_ ? vmm::ErrnoStatus(ESHUTDOWN, "the kexec has begun") : absl::OkStatus();
}

absl::Status LiveUpdate::OpenDevice() {
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (device_open_) return vmm::ErrnoStatus(EBUSY, "open /dev/liveupdate");
    device_open_ = true;
  }
  if (absl::Status status = Deserialize(); !status.ok()) {
    CloseDevice();
    return vmm::ErrnoStatus(EIO, absl::StrCat("open /dev/liveupdate: ", status.message()));
  }
  return absl::OkStatus();
}

void LiveUpdate::CloseDevice() {
  std::lock_guard<std::mutex> lock(mutex_);
  device_open_ = false;
}

absl::Status LiveUpdate::Deserialize() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (!deserialized_.has_value()) {
    deserialized_ = DeserializeOnce();
    incoming_blocks_ = BlockList();
  }
  return *deserialized_;
}

LiveUpdate::SessionState& LiveUpdate::Append(SessionList& list,
                                             std::unique_ptr<SessionState> state) {
  list.push_back(std::move(state));
  list.back()->self = std::prev(list.end());
  return *list.back();
}

absl::Status LiveUpdate::DeserializeOnce() {
  // Whatever fails, nothing is taken back: the memory of what could not be read stays preserved,
  // and nobody gets at it.
  RETURN_IF_ERROR(incoming_ == nullptr
                      ? absl::OkStatus()
                      : RestoreFree(*incoming_, outgoing_->arena(), incoming_blocks_));
  for (size_t i = 0; i < incoming_blocks_.size(); ++i) {
    const auto ser = incoming_blocks_.Get<abi::LuoSessionSer>(i);
    // Linux cuts a name without NUL to 63 bytes.
    std::string name(ser.name, strnlen(ser.name, sizeof(ser.name) - 1));
    auto state = std::make_unique<SessionState>(std::move(name), outgoing_, &registry_,
                                                &preserved_files_, /*from_before=*/true);
    if (!incoming_by_name_.emplace(state->name, state.get()).second) {
      return vmm::ErrnoStatus(EEXIST, absl::StrCat("two sessions '", state->name, "'"));
    }
    SessionState& session = Append(incoming_sessions_, std::move(state));
    RETURN_IF_ERROR(vmm::Annotate(session.files.Deserialize(incoming_, ser.file_set),
                                  absl::StrCat("session '", session.name, "'")));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Session>> LiveUpdate::CreateSession(absl::string_view name) {
  const std::string what = absl::StrCat("create session '", name, "'");
  if (name.empty() || name.size() >= abi::kSessionNameBytes ||
      name.find('\0') != absl::string_view::npos) {
    return vmm::ErrnoStatus(EINVAL, what);
  }
  std::lock_guard<std::mutex> lock(mutex_);
  RETURN_IF_ERROR(CheckRunning());
  if (outgoing_sessions_.size() >= kMaxSessions) return vmm::ErrnoStatus(ENOSPC, what);
  if (outgoing_by_name_.contains(name)) return vmm::ErrnoStatus(EEXIST, what);
  if (absl::Status grown = session_blocks_.Grow(outgoing_sessions_.size() + 1); !grown.ok()) {
    return vmm::ErrnoStatus(ENOMEM, absl::StrCat(what, ": ", grown.message()));
  }
  auto state = std::make_unique<SessionState>(std::string(name), outgoing_, &registry_,
                                              &preserved_files_, /*from_before=*/false);
  SessionState* const session = state.get();
  outgoing_by_name_.emplace(session->name, session);
  Append(outgoing_sessions_, std::move(state));
  return std::unique_ptr<Session>(new Session(shared_from_this(), session, /*incoming=*/false));
}

absl::StatusOr<std::unique_ptr<Session>> LiveUpdate::RetrieveSession(absl::string_view name) {
  const std::string what = absl::StrCat("retrieve session '", name, "'");
  std::lock_guard<std::mutex> lock(mutex_);
  RETURN_IF_ERROR(CheckRunning());
  const auto found = incoming_by_name_.find(name);
  if (found == incoming_by_name_.end()) return vmm::ErrnoStatus(ENOENT, what);
  SessionState* const session = found->second;
  if (session->retrieved) {
    return vmm::ErrnoStatus(EINVAL, absl::StrCat(what, ": it was retrieved before"));
  }
  session->retrieved = true;
  return std::unique_ptr<Session>(new Session(shared_from_this(), session, /*incoming=*/true));
}

void LiveUpdate::Release(SessionState* session, bool put_back) {
  std::lock_guard<std::mutex> lock(mutex_);
  if (rebooting_) {
    session->closed = true;
    return;
  }
  if (session->incoming) {
    if (put_back) {
      session->retrieved = false;
      return;
    }
    // What cannot be finished stays for good, and nobody gets at it any more.
    if (!session->files.Finish().ok()) return;
    incoming_by_name_.erase(session->name);
    incoming_sessions_.erase(session->self);
    return;
  }
  session->files.UnpreserveAll();
  outgoing_by_name_.erase(session->name);
  outgoing_sessions_.erase(session->self);
  (void)session_blocks_.Shrink(outgoing_sessions_.size());
}

void LiveUpdate::UnfreezeSessions(size_t count) {
  auto session = std::next(outgoing_sessions_.begin(), static_cast<ptrdiff_t>(count));
  while (session != outgoing_sessions_.begin()) (*--session)->files.Unfreeze();
  (void)session_blocks_.Clear();
}

absl::Status LiveUpdate::FreezeAll() {
  RETURN_IF_ERROR(WriteRoot(PhysicalAddress(0)));
  RETURN_IF_ERROR(session_blocks_.Clear());
  size_t frozen = 0;
  absl::Status status;
  for (const std::unique_ptr<SessionState>& session : outgoing_sessions_) {
    abi::LuoSessionSer ser = {};
    status = vmm::Annotate(session->files.Freeze(&ser.file_set),
                           absl::StrCat("session '", session->name, "'"));
    if (!status.ok()) break;
    ++frozen;
    memcpy(ser.name, session->name.data(), session->name.size());
    status = session_blocks_.Append(ser);
    if (!status.ok()) break;
  }
  if (status.ok()) status = WriteFlbs(registry_.Outgoing());
  if (status.ok()) status = WriteRoot(session_blocks_.head());
  if (!status.ok()) UnfreezeSessions(frozen);
  return status;
}

absl::Status LiveUpdate::Reboot() {
  std::lock_guard<std::mutex> lock(mutex_);
  RETURN_IF_ERROR(CheckRunning());
  RETURN_IF_ERROR(FreezeAll());
  rebooting_ = true;
  return absl::OkStatus();
}

void LiveUpdate::CancelReboot() {
  std::vector<SessionState*> closed;
  {
    std::lock_guard<std::mutex> lock(mutex_);
    if (!rebooting_) return;
    // They wrote the same places before: they can again.
    (void)WriteRoot(PhysicalAddress(0)).ok();
    (void)WriteFlbs({}).ok();
    UnfreezeSessions(outgoing_sessions_.size());
    rebooting_ = false;
    for (auto* list : {&outgoing_sessions_, &incoming_sessions_}) {
      for (const std::unique_ptr<SessionState>& session : *list) {
        if (session->closed) closed.push_back(session.get());
      }
    }
  }
  for (SessionState* session : closed) Release(session, /*put_back=*/false);
}

bool LiveUpdate::rebooting() const {
  std::lock_guard<std::mutex> lock(mutex_);
  return rebooting_;
}

std::vector<LiveUpdate::SessionInfo> LiveUpdate::sessions() const {
  std::lock_guard<std::mutex> lock(mutex_);
  std::vector<SessionInfo> infos;
  for (const auto* list : {&incoming_sessions_, &outgoing_sessions_}) {
    for (const std::unique_ptr<SessionState>& session : *list) {
      infos.push_back(
          {session->name, session->incoming, session->retrieved, session->files.size()});
    }
  }
  return infos;
}

Session::Session(std::shared_ptr<LiveUpdate> live_update, LiveUpdate::SessionState* state,
                 bool incoming)
    : live_update_(std::move(live_update)),
      state_(state),
      name_(state->name),
      incoming_(incoming) {}

Session::~Session() { live_update_->Release(state_, kept_ != nullptr && !*kept_); }

std::shared_ptr<std::atomic<bool>> Session::PutBackUnlessKept() {
  kept_ = std::make_shared<std::atomic<bool>>(false);
  return kept_;
}

absl::Status Session::PreserveFd(uint64_t token,
                                 const std::function<absl::StatusOr<vmm::UniqueFd>()>& take) {
  if (incoming_) return vmm::ErrnoStatus(EINVAL, "preserve in a session that was retrieved");
  std::lock_guard<std::mutex> lock(live_update_->mutex_);
  RETURN_IF_ERROR(live_update_->CheckRunning());
  return state_->files.Preserve(token, take);
}

absl::Status Session::PreserveFd(uint64_t token, vmm::UniqueFd file) {
  return PreserveFd(token, [&file]() -> absl::StatusOr<vmm::UniqueFd> { return std::move(file); });
}

absl::StatusOr<vmm::UniqueFd> Session::RetrieveFd(uint64_t token) {
  if (!incoming_) return vmm::ErrnoStatus(EINVAL, "retrieve from a session that was created");
  std::lock_guard<std::mutex> lock(live_update_->mutex_);
  RETURN_IF_ERROR(live_update_->CheckRunning());
  return state_->files.Retrieve(token);
}

absl::Status Session::Finish() {
  if (!incoming_) return vmm::ErrnoStatus(EINVAL, "finish a session that was created");
  std::lock_guard<std::mutex> lock(live_update_->mutex_);
  RETURN_IF_ERROR(live_update_->CheckRunning());
  return state_->files.Finish();
}

}  // namespace luo
