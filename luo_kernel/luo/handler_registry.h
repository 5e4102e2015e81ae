// HandlerRegistry: who knows which kind of file, and which FLBs each of them needs; the FLBs'
// counts and live objects. Part of a LiveUpdate (live_update.h), for the sources of this folder.
//
//   HandlerRegistry registry;
//   RETURN_IF_ERROR(registry.RegisterFileHandler(handler));
//   RETURN_IF_ERROR(registry.RegisterFlb(handler.get(), iommu));
//   HandlerRegistry::Entry* entry = registry.FindFor(file);   // asks CanPreserve
//   RETURN_IF_ERROR(registry.PreserveFlbs(*entry));           // before the handler's Preserve
//
// Errors carry the errnos of Linux 7.3, kernel/liveupdate/luo_file.c and luo_flb.c.
//
// Threads: GetIncomingFlb() and the like may be called from any thread, also from a handler's
// callbacks; everything else is LiveUpdate's, under its lock.
#ifndef LUO_KERNEL_LUO_HANDLER_REGISTRY_H_
#define LUO_KERNEL_LUO_HANDLER_REGISTRY_H_

#include <stdint.h>

#include <list>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "luo_kernel/luo/file_handler.h"
#include "luo_kernel/luo/image.h"

namespace luo {

class HandlerRegistry {
 public:
  struct FlbEntry;
  struct Entry {
    std::shared_ptr<FileHandler> handler;
    std::vector<std::shared_ptr<FlbEntry>> flbs;
    // Files that are preserved, or waiting to be finished, by this handler.
    uint64_t files = 0;
  };

  // EEXIST: its compatible string is taken. EINVAL: it is empty or longer than 47 bytes.
  absl::Status RegisterFileHandler(std::shared_ptr<FileHandler> handler);
  // EBUSY: it still has files. ENOENT: it is not registered.
  absl::Status UnregisterFileHandler(const FileHandler* handler);

  // `handler`'s files need `flb`. EINVAL: the handler is not registered, or has files already, or
  // the string is empty or too long. EEXIST: they are linked already, or another FLB has that
  // string. ENOSPC: there are abi::kMaxFlbs.
  absl::Status RegisterFlb(const FileHandler* handler, std::shared_ptr<Flb> flb);
  // ENOENT: they are not linked. EBUSY: the handler has files.
  absl::Status UnregisterFlb(const FileHandler* handler, const Flb* flb);

  // The first handler that says it can preserve `file`; null when there is none.
  Entry* FindFor(int file);
  Entry* FindCompatible(absl::string_view compatible);

  // Counts `entry`'s FLBs up; an FLB's first user preserves it. When one fails, those before it are
  // counted down again.
  absl::Status PreserveFlbs(Entry& entry);
  // In reverse order; the last user unpreserves, or finishes.
  void UnpreserveFlbs(Entry& entry);
  void FinishFlbs(Entry& entry);

  // What the last kernel left.
  void SetIncoming(std::vector<FlbImage> flbs);
  // What the next kernel is to get: the FLBs that are in use.
  std::vector<FlbImage> Outgoing() const;

  // A reference to the live object, to be given back by Put.
  // Incoming: ENODATA (no FLB came, or it is finished), ENOENT (this one did not come), or what
  // Retrieve once failed with. Outgoing: ENOENT where no file needs it.
  absl::StatusOr<std::shared_ptr<void>> GetIncomingFlb(const Flb* flb);
  void PutIncomingFlb(const Flb* flb);
  absl::StatusOr<std::shared_ptr<void>> GetOutgoingFlb(const Flb* flb);
  void PutOutgoingFlb(const Flb* flb);

 private:
  Entry* Find(const FileHandler* handler);
  FlbEntry* Find(const Flb* flb);

  absl::Status CountUp(FlbEntry& flb);
  void PutOutgoing(FlbEntry& flb);
  void PutIncoming(FlbEntry& flb);
  bool LoadIncoming(FlbEntry& flb);
  absl::Status RetrieveFlb(FlbEntry& flb);

  // In the order of registration. A list, for entries are pointed at.
  std::list<Entry> handlers_;
  // Recursive, for an FLB's callbacks may ask for another FLB.
  mutable std::recursive_mutex flb_mutex_;
  std::vector<std::shared_ptr<FlbEntry>> flbs_;
  bool incoming_active_ = false;
  std::vector<FlbImage> incoming_;
};

}  // namespace luo

#endif  // LUO_KERNEL_LUO_HANDLER_REGISTRY_H_
