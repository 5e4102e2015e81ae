// Where a serial port's bytes go: implemented by whatever shows them (devices/console), called by
// the port.
#ifndef DEVICES_LEGACY_SERIAL_OUTPUT_H_
#define DEVICES_LEGACY_SERIAL_OUTPUT_H_

#include <stdint.h>

#include "absl/types/span.h"

namespace vmm {

class SerialOutput {
 public:
  virtual ~SerialOutput() = default;
  // Called on a vCPU's thread, byte by byte as the guest writes them, with the port's lock held:
  // must return soon and must not call the port. Thread-safe.
  virtual void Write(absl::Span<const uint8_t> bytes) = 0;
};

}  // namespace vmm

#endif  // DEVICES_LEGACY_SERIAL_OUTPUT_H_
