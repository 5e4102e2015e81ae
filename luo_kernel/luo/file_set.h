// FileSet: the files of one session, by token; PreservedFiles: those of all sessions, so that none
// is preserved twice. Parts of a LiveUpdate (live_update.h), for the sources of this folder.
//
// A set is either outgoing (Preserve, Freeze, Unfreeze, UnpreserveAll) or incoming (Deserialize,
// Retrieve, Finish). Errors carry the errnos of Linux 7.3, kernel/liveupdate/luo_file.c.
//
// Threads: LiveUpdate's, under its lock.
#ifndef LUO_KERNEL_LUO_FILE_SET_H_
#define LUO_KERNEL_LUO_FILE_SET_H_

#include <stdint.h>

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/kho/block_list.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/luo/file_handler.h"
#include "luo_kernel/luo/handler_registry.h"

namespace luo {

// Which files LUO has. A file is the same as another where its handler says so (GetId), else where
// it is the same open file description (kcmp(2); where the system has no kcmp, none is).
class PreservedFiles {
 public:
  // False: it is there already.
  bool Insert(const std::optional<FileId>& id, int file);
  void Erase(const std::optional<FileId>& id, int file);
  size_t size() const { return by_id_.size() + descriptors_.size(); }

 private:
  std::set<FileId> by_id_;
  std::set<int> descriptors_;
};

class FileSet {
 public:
  // The most files a session can have: Linux takes a longer list for a corrupt one.
  static constexpr uint64_t kMaxFiles =
      abi::kMaxBlocks * abi::EntriesPerBlock(sizeof(abi::LuoFileSer));

  // All outlive the set.
  FileSet(OutgoingHandover* outgoing, HandlerRegistry* registry, PreservedFiles* preserved);

  absl::Status Preserve(uint64_t token, const std::function<absl::StatusOr<vmm::UniqueFd>()>& take);
  // In reverse order of their preservation.
  void UnpreserveAll();

  // Freezes all and writes them down; `ser` says where. When one fails, those before it are
  // unfrozen in reverse order, and `ser` is as it was.
  absl::Status Freeze(abi::LuoFileSetSer* ser);
  void Unfreeze();

  // Takes the files that `ser` describes out of `incoming`, whose pages go back to the arena.
  absl::Status Deserialize(IncomingHandover* incoming, const abi::LuoFileSetSer& ser);
  absl::StatusOr<vmm::UniqueFd> Retrieve(uint64_t token);
  absl::Status Finish();

  size_t size() const { return files_.size(); }

 private:
  struct File {
    HandlerRegistry::Entry* entry;
    vmm::UniqueFd file;
    std::optional<FileId> id;
    uint64_t token;
    // Of the first, failed retrieve, with its errno and message.
    absl::Status retrieve_error;
    FileOpArgs args;
  };

  // Undoes the freeze of the first `count` files.
  void UnfreezeFirst(size_t count);

  OutgoingHandover* outgoing_;
  HandlerRegistry* registry_;
  PreservedFiles* preserved_;
  std::vector<std::unique_ptr<File>> files_;
  absl::flat_hash_map<uint64_t, File*> by_token_;
  // Of an outgoing set: has room for all files.
  BlockListWriter blocks_;
};

}  // namespace luo

#endif  // LUO_KERNEL_LUO_FILE_SET_H_
