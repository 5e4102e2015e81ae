// ByteSource: an image's bytes, read where a parser asks for them, from a file or (in tests and
// fuzzers) from memory.
//
//   ASSIGN_OR_RETURN(FileSource file, FileSource::Open(fd, "kernel"));
//   uint8_t magic[4];
//   RETURN_IF_ERROR(file.Read(0, absl::MakeSpan(magic)));
//
// Reads are whole or fail; past the end is kOutOfRange. The bytes may change between two reads, so
// whoever checks a value uses the copy that was checked.
#ifndef VMM_BOOT_BYTE_SOURCE_H_
#define VMM_BOOT_BYTE_SOURCE_H_

#include <stdint.h>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace vmm {

class ByteSource {
 public:
  virtual ~ByteSource() = default;

  uint64_t size() const { return size_; }
  absl::Status Read(uint64_t offset, absl::Span<uint8_t> out) const;

 protected:
  explicit ByteSource(uint64_t size) : size_(size) {}

 private:
  // `out` lies within size().
  virtual absl::Status ReadWithin(uint64_t offset, absl::Span<uint8_t> out) const = 0;

  uint64_t size_;
};

class FileSource : public ByteSource {
 public:
  // `fd` stays the caller's and must stay open. kInvalidArgument when it is not a regular file, or
  // empty; `what` names it in the message.
  static absl::StatusOr<FileSource> Open(int fd, absl::string_view what);

 private:
  FileSource(int fd, uint64_t size) : ByteSource(size), fd_(fd) {}
  absl::Status ReadWithin(uint64_t offset, absl::Span<uint8_t> out) const override;

  int fd_;
};

class SpanSource : public ByteSource {
 public:
  // `bytes` must outlive this.
  explicit SpanSource(absl::Span<const uint8_t> bytes) : ByteSource(bytes.size()), bytes_(bytes) {}

 private:
  absl::Status ReadWithin(uint64_t offset, absl::Span<uint8_t> out) const override;

  absl::Span<const uint8_t> bytes_;
};

}  // namespace vmm

#endif  // VMM_BOOT_BYTE_SOURCE_H_
