// What LUO asks of those who know one kind of file, and of those who know state that several files
// share (File-Lifecycle-Bound objects, FLBs).
//
//   class PipeHandler : public FileHandler {
//    public:
//     absl::string_view compatible() const override { return "pipe-v1"; }
//     bool CanPreserve(int file) override;
//     absl::Status Preserve(FileOpArgs& args) override;   // fills args.data
//     ...
//   };
//   RETURN_IF_ERROR(live_update->RegisterFileHandler(std::make_shared<PipeHandler>(memory)));
//
// The life of a file, and who is asked what:
//   old kernel:  CanPreserve, Preserve ── Freeze ──► kexec      (Unfreeze: the kexec was called
//   off)
//                         └── Unpreserve: its session was closed before the kexec
//   new kernel:  Retrieve (at most once), CanFinish, Finish
// and of an FLB: Preserve with the first file that needs it, Unpreserve or Finish with the last.
//
// A handler belongs to one LiveUpdate (one "booted kernel"), which calls it with its own lock held:
// never from two threads at once, and it must not call back into that LiveUpdate, the FLB getters
// excepted. Errors carry an errno (vmm::ErrnoStatus), which user space sees.
//
// Source: Linux 7.3, include/linux/liveupdate.h.
#ifndef LUO_KERNEL_LUO_FILE_HANDLER_H_
#define LUO_KERNEL_LUO_FILE_HANDLER_H_

#include <stdint.h>

#include <compare>
#include <memory>
#include <optional>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"

namespace luo {

// What two descriptors of the same file have in common, for a handler to define (get_id).
struct FileId {
  uint64_t device = 0;
  uint64_t inode = 0;
  auto operator<=>(const FileId&) const = default;
};

// Whatever a handler keeps for a preserved file in memory of this kernel.
class FileState {
 public:
  virtual ~FileState() = default;
};

// The arguments of a handler's calls; the one of a file is the same over its life.
struct FileOpArgs {
  // The open file, LUO's own descriptor; -1 in the new kernel until it is retrieved.
  int file = -1;
  // The u64 that the next kernel gets. Preserve and Freeze may set it.
  uint64_t data = 0;
  // Set by Preserve; gone after Unpreserve.
  std::unique_ptr<FileState> state;
  // New kernel: 0 not tried, 1 retrieved, below 0 the negated errno with which Retrieve failed.
  int retrieve_status = 0;
};

class FileHandler {
 public:
  virtual ~FileHandler() = default;

  // 1 to 47 bytes; names the handler in the next kernel too.
  virtual absl::string_view compatible() const = 0;

  // Whether it is a file of the kind this handler knows. Cheap: every handler is asked, in the
  // order of their registration, and the first that says true has the file.
  virtual bool CanPreserve(int file) = 0;

  // Which file it is, where several descriptors may mean the same one; a file cannot be preserved
  // twice. Nothing (the default): the open file description itself counts.
  virtual std::optional<FileId> GetId(int /*file*/) { return std::nullopt; }

  // Saves, while the file is still in use. On failure nothing of it may be left.
  virtual absl::Status Preserve(FileOpArgs& args) = 0;
  virtual void Unpreserve(FileOpArgs& args) = 0;

  // Last touches; user space no longer runs. Failure calls the whole kexec off.
  virtual absl::Status Freeze(FileOpArgs& /*args*/) { return absl::OkStatus(); }
  // Undoes a Freeze that succeeded.
  virtual void Unfreeze(FileOpArgs& /*args*/) {}

  // Makes the file anew from args.data. Is not called again, whether it fails or not; on failure it
  // has given back all that args.data stands for.
  virtual absl::StatusOr<vmm::UniqueFd> Retrieve(FileOpArgs& args) = 0;

  // Whether Finish may be called: asked of all files of a session before any is finished.
  virtual bool CanFinish(const FileOpArgs& /*args*/) { return true; }
  // The end: what was not retrieved (args.retrieve_status is 0) is given back.
  virtual void Finish(FileOpArgs& args) = 0;
};

struct FlbOpArgs {
  // The u64 that the next kernel gets; set by Preserve.
  uint64_t data = 0;
  // The live object; set by Preserve in the old kernel and by Retrieve in the new one.
  std::shared_ptr<void> object;
};

class Flb {
 public:
  virtual ~Flb() = default;
  // 1 to 47 bytes.
  virtual absl::string_view compatible() const = 0;
  virtual absl::Status Preserve(FlbOpArgs& args) = 0;
  virtual void Unpreserve(FlbOpArgs& args) = 0;
  // On demand: when somebody asks for the object, at the latest before Finish.
  virtual absl::Status Retrieve(FlbOpArgs& args) = 0;
  virtual void Finish(FlbOpArgs& args) = 0;
};

}  // namespace luo

#endif  // LUO_KERNEL_LUO_FILE_HANDLER_H_
