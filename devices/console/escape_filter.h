// EscapeFilter: the keys by which somebody at a raw terminal speaks to the VMM rather than to the
// guest, those of QEMU: Ctrl-A x quits, Ctrl-A a (or Ctrl-A twice) sends a Ctrl-A, Ctrl-A with
// anything else sends nothing.
#ifndef DEVICES_CONSOLE_ESCAPE_FILTER_H_
#define DEVICES_CONSOLE_ESCAPE_FILTER_H_

#include <stdint.h>

#include <vector>

#include "absl/types/span.h"

namespace vmm {

class EscapeFilter {
 public:
  // Appends what of `typed` is for the guest to `out`. True when it held the command to quit; what
  // was typed after that is dropped. Commands may be cut anywhere between two calls.
  bool Filter(absl::Span<const uint8_t> typed, std::vector<uint8_t>* out) {
    constexpr uint8_t kEscape = 0x01;  // Ctrl-A
    for (uint8_t key : typed) {
      if (!escaped_) {
        escaped_ = key == kEscape;
        if (!escaped_) out->push_back(key);
        continue;
      }
      escaped_ = false;
      if (key == 'x') return true;
      if (key == 'a' || key == kEscape) out->push_back(kEscape);
    }
    return false;
  }

 private:
  bool escaped_ = false;
};

}  // namespace vmm

#endif  // DEVICES_CONSOLE_ESCAPE_FILTER_H_
