// MemoryImage: the memory of a whole machine in a file: an ELF core as QEMU's dump-guest-memory and
// kdump's /proc/vmcore write it, and as /proc/kcore is.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<MemoryImage> image, MemoryImage::Open(fd));
//   for (const MemoryRange& range : image->ranges()) ...
//   RETURN_IF_ERROR(image->Read(0x2221000, absl::MakeSpan(page)));
//
// Files are untrusted: what they say is checked when they are opened, and a read that the file does
// not back, because it was cut off meanwhile or for any other reason, is an error and never more.
// Nothing is mapped, so that a file that shrinks while it is read does no harm either.
//
// Compressed dumps (makedumpfile's, QEMU's kdump-zlib) are refused with a hint.
//
// Sources: ELF-64 object file format 1.5; Linux 7.3, fs/proc/{vmcore,kcore}.c and
// kernel/vmcore_info.c; QEMU 10.0, dump/dump.c.
//
// Reading is safe from several threads.
#ifndef LUO_KERNEL_INSPECT_MEMORY_IMAGE_H_
#define LUO_KERNEL_INSPECT_MEMORY_IMAGE_H_

#include <stdint.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"
#include "luo_kernel/inspect/physical_reader.h"

namespace luo {

class MemoryImage final : public PhysicalReader {
 public:
  // kInvalidArgument where `fd` is not such a file or holds no memory. Where the file has the same
  // memory twice, as /proc/kcore has the kernel's own text, the view that begins first counts.
  static absl::StatusOr<std::unique_ptr<MemoryImage>> Open(vmm::UniqueFd fd);

  // Ascending, none touching its neighbour.
  const std::vector<MemoryRange>& ranges() const override { return ranges_; }
  // kOutOfRange where not all of it is in the image.
  absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const override;

  // What the kernel says of itself in the note VMCOREINFO, "KEY=value" lines; empty where the image
  // has none.
  const std::string& vmcoreinfo() const { return vmcoreinfo_; }
  // OSRELEASE of it, as uname -r says it; or empty.
  std::string kernel_release() const;

 private:
  struct Segment {
    uint64_t address = 0;  // physical
    uint64_t size = 0;     // bytes, all of them in the file
    uint64_t offset = 0;   // in the file
  };

  explicit MemoryImage(vmm::UniqueFd fd) : fd_(std::move(fd)) {}
  absl::Status ReadHeaders();
  absl::Status AddSegments(std::vector<Segment> segments);
  void ReadNotes(uint64_t offset, uint64_t size);

  const vmm::UniqueFd fd_;
  std::vector<Segment> segments_;  // ascending by address
  std::vector<MemoryRange> ranges_;
  std::string vmcoreinfo_;
};

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_MEMORY_IMAGE_H_
