// MemfdHandler: LUO's handler of memfds, "memfd-v2", for real memfds on an ordinary kernel. Nothing
// is copied: the file's pages are given physical addresses, as an extent of the machine's memory
// that is backed by the file itself, and after the "kexec" a new open file of the same pages is
// made from it.
//
//   auto handler = std::make_shared<MemfdHandler>(&memory, &outgoing, incoming_or_null);
//   RETURN_IF_ERROR(live_update->RegisterFileHandler(handler));
//
// Preserve fills holes, as Linux does, so that a page cannot be missing later, adds the extent and
// describes the file in folios of up to 2 MiB. Retrieve has two ways:
//   - folios that lie in an extent of a file, in the file's own order, as Preserve puts them: the
//     extent is taken out of memory and the file opened anew, with the size, position and seals as
//     described;
//   - any others, which another kernel left in a memory image: they are copied into a new memfd.
// Finish gives back what was not retrieved: the extent, or the folios to the arena.
//
// What differs from Linux, for user space cannot do it:
//   - Linux refuses to resize a file while it is preserved (EPERM) and allows it again after. Here
//     it is noticed instead: Freeze fails with EPERM where the size is not what it was, and so
//     calls the kexec off. With `pin_size` the file gets F_SEAL_GROW and F_SEAL_SHRINK, which
//     refuse with EPERM as Linux does, but stay on the file for good; what is handed over are the
//     seals it had before.
//   - The file that comes back is the same inode: it keeps its name, its mode and seals added
//   since.
//   - A descriptor opened for reading only cannot have its holes filled where the file cannot be
//     opened for writing; they stay holes, which read as zeros.
//
// Threads: LiveUpdate's, under its lock.
// Source: Linux 7.3, mm/memfd_luo.c.
#ifndef LUO_KERNEL_MEMFD_MEMFD_HANDLER_H_
#define LUO_KERNEL_MEMFD_MEMFD_HANDLER_H_

#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"
#include "luo_kernel/kho/extent_memory.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/luo/file_handler.h"
#include "luo_kernel/memfd/memfd_image.h"

namespace luo {

class MemfdHandler : public FileHandler {
 public:
  struct Options {
    // Seal what is preserved against growing and shrinking.
    bool pin_size = false;
  };

  // `memory` is the one that both handovers are over; `incoming` is null where there was no kexec.
  // All outlive the handler.
  MemfdHandler(ExtentMemory* memory, OutgoingHandover* outgoing, IncomingHandover* incoming,
               Options options);
  MemfdHandler(ExtentMemory* memory, OutgoingHandover* outgoing, IncomingHandover* incoming)
      : MemfdHandler(memory, outgoing, incoming, Options()) {}

  absl::string_view compatible() const override;
  // A file of tmpfs without a name; no hugetlb.
  bool CanPreserve(int file) override;
  std::optional<FileId> GetId(int file) override;
  // EINVAL: no seals can be read. EOPNOTSUPP: a seal that "memfd-v2" does not know. EFBIG: 2^32
  // pages or more. ENOSPC, ENOMEM: no memory for the holes, or for the description.
  absl::Status Preserve(FileOpArgs& args) override;
  void Unpreserve(FileOpArgs& args) override;
  // EPERM: the size has changed. Hands the position over as it is now.
  absl::Status Freeze(FileOpArgs& args) override;
  // EIO: folios or the description are not preserved, or the file has lost its size; EINVAL: they
  // are malformed; EOPNOTSUPP: seals. All that was preserved for it is given back then.
  absl::StatusOr<vmm::UniqueFd> Retrieve(FileOpArgs& args) override;
  void Finish(FileOpArgs& args) override;

 private:
  struct State;

  // Restores what it can, and gives back to the arena what lies there. The first error.
  absl::Status TakeDescription(PhysicalAddress address);
  // Extents go with the last folio that is preserved in them.
  absl::Status TakeFolios(const std::vector<FolioImage>& folios);
  // The file whose extent the folios are in; none where they are in other memory.
  absl::StatusOr<vmm::UniqueFd> PagesOf(const MemfdImage& image) const;
  absl::StatusOr<vmm::UniqueFd> Reopen(const MemfdImage& image, int pages);

  ExtentMemory* const memory_;
  OutgoingHandover* const outgoing_;
  IncomingHandover* const incoming_;
  const Options options_;
};

}  // namespace luo

#endif  // LUO_KERNEL_MEMFD_MEMFD_HANDLER_H_
