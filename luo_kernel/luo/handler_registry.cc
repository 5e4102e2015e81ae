#include "luo_kernel/luo/handler_registry.h"

#include <errno.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "luo_kernel/abi/luo_v5.h"

namespace luo {

struct HandlerRegistry::FlbEntry {
  struct Side {
    uint64_t count = 0;
    FlbOpArgs args;
  };

  std::shared_ptr<Flb> flb;
  // With how many handlers it is registered.
  uint64_t users = 0;
  Side outgoing;
  Side incoming;
  // Of `incoming`:
  bool loaded = false;
  bool retrieved = false;
  bool finished = false;
  absl::Status retrieve_error;
};

namespace {

absl::Status CheckCompatible(absl::string_view compatible, size_t field_bytes) {
  if (compatible.empty() || compatible.size() >= field_bytes ||
      compatible.find('\0') != absl::string_view::npos) {
    return vmm::ErrnoStatus(EINVAL, absl::StrCat("register '", compatible, "'"));
  }
  return absl::OkStatus();
}

}  // namespace

HandlerRegistry::Entry* HandlerRegistry::Find(const FileHandler* handler) {
  for (Entry& entry : handlers_) {
    if (entry.handler.get() == handler) return &entry;
  }
  return nullptr;
}

HandlerRegistry::FlbEntry* HandlerRegistry::Find(const Flb* flb) {
  for (const std::shared_ptr<FlbEntry>& entry : flbs_) {
    if (entry->flb.get() == flb) return entry.get();
  }
  return nullptr;
}

absl::Status HandlerRegistry::RegisterFileHandler(std::shared_ptr<FileHandler> handler) {
  RETURN_IF_ERROR(CheckCompatible(handler->compatible(), abi::kFileCompatibleBytes));
  if (FindCompatible(handler->compatible()) != nullptr) {
    return vmm::ErrnoStatus(EEXIST, absl::StrCat("register handler ", handler->compatible()));
  }
  handlers_.push_back(Entry{std::move(handler)});
  return absl::OkStatus();
}

absl::Status HandlerRegistry::UnregisterFileHandler(const FileHandler* handler) {
  Entry* entry = Find(handler);
  if (entry == nullptr) return vmm::ErrnoStatus(ENOENT, "unregister handler");
  if (entry->files > 0) {
    return vmm::ErrnoStatus(EBUSY, absl::StrCat("unregister handler ", handler->compatible()));
  }
  while (!entry->flbs.empty()) {
    RETURN_IF_ERROR(UnregisterFlb(handler, entry->flbs.back()->flb.get()));
  }
  handlers_.remove_if([entry](const Entry& other) { return &other == entry; });
  return absl::OkStatus();
}

absl::Status HandlerRegistry::RegisterFlb(const FileHandler* handler, std::shared_ptr<Flb> flb) {
  RETURN_IF_ERROR(CheckCompatible(flb->compatible(), abi::kFlbCompatibleBytes));
  Entry* entry = Find(handler);
  const std::string what = absl::StrCat("register FLB ", flb->compatible());
  if (entry == nullptr || entry->files > 0) return vmm::ErrnoStatus(EINVAL, what);
  for (const std::shared_ptr<FlbEntry>& other : entry->flbs) {
    if (other->flb == flb) return vmm::ErrnoStatus(EEXIST, what);
  }
  std::lock_guard<std::recursive_mutex> lock(flb_mutex_);
  for (const std::shared_ptr<FlbEntry>& other : flbs_) {
    if (other->flb == flb) {
      ++other->users;
      entry->flbs.push_back(other);
      return absl::OkStatus();
    }
  }
  if (flbs_.size() >= abi::kMaxFlbs) return vmm::ErrnoStatus(ENOSPC, what);
  for (const std::shared_ptr<FlbEntry>& other : flbs_) {
    if (other->flb->compatible() == flb->compatible()) return vmm::ErrnoStatus(EEXIST, what);
  }
  auto created = std::make_shared<FlbEntry>();
  created->flb = std::move(flb);
  created->users = 1;
  flbs_.push_back(created);
  entry->flbs.push_back(std::move(created));
  return absl::OkStatus();
}

absl::Status HandlerRegistry::UnregisterFlb(const FileHandler* handler, const Flb* flb) {
  Entry* entry = Find(handler);
  if (entry == nullptr) return vmm::ErrnoStatus(ENOENT, "unregister FLB");
  if (entry->files > 0) return vmm::ErrnoStatus(EBUSY, "unregister FLB");
  const auto link =
      std::find_if(entry->flbs.begin(), entry->flbs.end(),
                   [flb](const std::shared_ptr<FlbEntry>& it) { return it->flb.get() == flb; });
  if (link == entry->flbs.end()) return vmm::ErrnoStatus(ENOENT, "unregister FLB");
  const std::shared_ptr<FlbEntry> unlinked = *link;
  entry->flbs.erase(link);
  std::lock_guard<std::recursive_mutex> lock(flb_mutex_);
  if (--unlinked->users == 0) {
    flbs_.erase(std::remove(flbs_.begin(), flbs_.end(), unlinked), flbs_.end());
  }
  return absl::OkStatus();
}

HandlerRegistry::Entry* HandlerRegistry::FindFor(int file) {
  for (Entry& entry : handlers_) {
    if (entry.handler->CanPreserve(file)) return &entry;
  }
  return nullptr;
}

HandlerRegistry::Entry* HandlerRegistry::FindCompatible(absl::string_view compatible) {
  for (Entry& entry : handlers_) {
    if (entry.handler->compatible() == compatible) return &entry;
  }
  return nullptr;
}

absl::Status HandlerRegistry::CountUp(FlbEntry& flb) {
  FlbEntry::Side& side = flb.outgoing;
  if (side.count == 0) {
    FlbOpArgs args;
    RETURN_IF_ERROR(flb.flb->Preserve(args));
    side.args = std::move(args);
  }
  ++side.count;
  return absl::OkStatus();
}

void HandlerRegistry::PutOutgoing(FlbEntry& flb) {
  FlbEntry::Side& side = flb.outgoing;
  if (side.count == 0 || --side.count > 0) return;
  flb.flb->Unpreserve(side.args);
  side.args = {};
}

absl::Status HandlerRegistry::PreserveFlbs(Entry& entry) {
  std::lock_guard<std::recursive_mutex> lock(flb_mutex_);
  for (size_t i = 0; i < entry.flbs.size(); ++i) {
    const absl::Status status = CountUp(*entry.flbs[i]);
    if (status.ok()) continue;
    while (i > 0) PutOutgoing(*entry.flbs[--i]);
    return status;
  }
  return absl::OkStatus();
}

void HandlerRegistry::UnpreserveFlbs(Entry& entry) {
  std::lock_guard<std::recursive_mutex> lock(flb_mutex_);
  for (auto flb = entry.flbs.rbegin(); flb != entry.flbs.rend(); ++flb) PutOutgoing(**flb);
}

void HandlerRegistry::FinishFlbs(Entry& entry) {
  std::lock_guard<std::recursive_mutex> lock(flb_mutex_);
  for (auto flb = entry.flbs.rbegin(); flb != entry.flbs.rend(); ++flb) PutIncoming(**flb);
}

void HandlerRegistry::SetIncoming(std::vector<FlbImage> flbs) {
  std::lock_guard<std::recursive_mutex> lock(flb_mutex_);
  incoming_ = std::move(flbs);
  incoming_active_ = true;
}

std::vector<FlbImage> HandlerRegistry::Outgoing() const {
  std::lock_guard<std::recursive_mutex> lock(flb_mutex_);
  std::vector<FlbImage> images;
  for (const std::shared_ptr<FlbEntry>& flb : flbs_) {
    if (flb->outgoing.count == 0) continue;
    images.push_back(
        {std::string(flb->flb->compatible()), flb->outgoing.args.data, flb->outgoing.count});
  }
  return images;
}

bool HandlerRegistry::LoadIncoming(FlbEntry& flb) {
  if (flb.loaded) return true;
  for (const FlbImage& image : incoming_) {
    if (image.name != flb.flb->compatible()) continue;
    flb.incoming.args.data = image.data;
    flb.incoming.count = image.count;
    flb.loaded = true;
    return true;
  }
  return false;
}

absl::Status HandlerRegistry::RetrieveFlb(FlbEntry& flb) {
  const std::string what = absl::StrCat("FLB ", flb.flb->compatible());
  if (flb.finished || !incoming_active_) return vmm::ErrnoStatus(ENODATA, what);
  if (!flb.retrieve_error.ok()) return flb.retrieve_error;
  if (flb.retrieved) return absl::OkStatus();
  if (!LoadIncoming(flb)) return vmm::ErrnoStatus(ENOENT, what);
  flb.retrieve_error = flb.flb->Retrieve(flb.incoming.args);
  flb.retrieved = flb.retrieve_error.ok();
  return flb.retrieve_error;
}

void HandlerRegistry::PutIncoming(FlbEntry& flb) {
  if (flb.finished || !LoadIncoming(flb)) return;
  if (flb.incoming.count == 0 || --flb.incoming.count > 0) return;
  // What cannot be retrieved cannot be finished either; it stays as it is.
  if (!RetrieveFlb(flb).ok()) return;
  flb.flb->Finish(flb.incoming.args);
  flb.incoming.args = {};
  flb.finished = true;
}

absl::StatusOr<std::shared_ptr<void>> HandlerRegistry::GetIncomingFlb(const Flb* flb) {
  std::lock_guard<std::recursive_mutex> lock(flb_mutex_);
  FlbEntry* entry = Find(flb);
  if (entry == nullptr) return vmm::ErrnoStatus(ENOENT, "an FLB that is not registered");
  RETURN_IF_ERROR(RetrieveFlb(*entry));
  ++entry->incoming.count;
  return entry->incoming.args.object;
}

void HandlerRegistry::PutIncomingFlb(const Flb* flb) {
  std::lock_guard<std::recursive_mutex> lock(flb_mutex_);
  if (FlbEntry* entry = Find(flb)) PutIncoming(*entry);
}

absl::StatusOr<std::shared_ptr<void>> HandlerRegistry::GetOutgoingFlb(const Flb* flb) {
  std::lock_guard<std::recursive_mutex> lock(flb_mutex_);
  FlbEntry* entry = Find(flb);
  if (entry == nullptr || entry->outgoing.count == 0 || entry->outgoing.args.object == nullptr) {
    return vmm::ErrnoStatus(ENOENT, "an FLB that no file needs");
  }
  ++entry->outgoing.count;
  return entry->outgoing.args.object;
}

void HandlerRegistry::PutOutgoingFlb(const Flb* flb) {
  std::lock_guard<std::recursive_mutex> lock(flb_mutex_);
  if (FlbEntry* entry = Find(flb)) PutOutgoing(*entry);
}

}  // namespace luo
