// ByteRing: the last N bytes of a stream. Appending always succeeds and drops the oldest bytes
// where there is no room.
//
//   ByteRing ring(64 << 10);
//   ring.Append(bytes);
//   const uint64_t position = ring.begin();
//   size_t count = ring.Copy(absl::MakeSpan(buffer));   // look at the oldest bytes,
//   ring.ConsumeTo(position + count);                   // and forget them once they are out
//
// Positions count bytes since the start of the stream, so that bytes may be dropped between Copy()
// and ConsumeTo(). Memory is taken as it is needed, up to the capacity. Not synchronised.
#ifndef DEVICES_CONSOLE_BYTE_RING_H_
#define DEVICES_CONSOLE_BYTE_RING_H_

#include <stddef.h>
#include <stdint.h>

#include <algorithm>
#include <deque>

#include "absl/types/span.h"

namespace vmm {

class ByteRing {
 public:
  explicit ByteRing(size_t capacity) : capacity_(capacity) {}

  size_t capacity() const { return capacity_; }
  bool empty() const { return bytes_.empty(); }
  // The positions of the oldest byte held, and of the next to be appended.
  uint64_t begin() const { return begin_; }
  uint64_t end() const { return begin_ + bytes_.size(); }

  void Append(absl::Span<const uint8_t> bytes) {
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.end());
    if (bytes_.size() > capacity_) Drop(bytes_.size() - capacity_);
  }

  // Copies the oldest bytes, as many as there are or fit, and returns how many.
  size_t Copy(absl::Span<uint8_t> out) const {
    const size_t count = std::min(out.size(), bytes_.size());
    std::copy_n(bytes_.begin(), count, out.begin());
    return count;
  }

  // Forgets what lies before `position`; nothing where that has been dropped already.
  void ConsumeTo(uint64_t position) {
    if (position > begin_) Drop(std::min<uint64_t>(position - begin_, bytes_.size()));
  }

 private:
  void Drop(size_t count) {
    bytes_.erase(bytes_.begin(), bytes_.begin() + count);
    begin_ += count;
  }

  const size_t capacity_;
  std::deque<uint8_t> bytes_;
  uint64_t begin_ = 0;
};

}  // namespace vmm

#endif  // DEVICES_CONSOLE_BYTE_RING_H_
