// Bus: which device answers an address. One instance for port I/O, one for MMIO.
//
//   Bus pio;
//   RETURN_IF_ERROR(pio.Insert(0x3f8, 8, &serial));
//   pio.Write(0x3f8, {'A'});   // → serial.Write(0, {'A'})
//
// Reads that no device answers give all ones and writes go nowhere, as on a PC. Built before the
// vCPUs run and constant from then on; Read and Write may be called from every vCPU thread at once,
// so a device guards its own state.
#ifndef DEVICES_BUS_H_
#define DEVICES_BUS_H_

#include <stdint.h>

#include <map>

#include "absl/status/status.h"
#include "absl/types/span.h"

namespace vmm {

class BusDevice {
 public:
  virtual ~BusDevice() = default;
  // `offset` is from the start of the device's range; `data` is 1, 2, 4 or 8 bytes, little-endian,
  // and never reaches past the range. Both are guest-controlled.
  virtual void Read(uint64_t offset, absl::Span<uint8_t> data) = 0;
  virtual void Write(uint64_t offset, absl::Span<const uint8_t> data) = 0;
};

class Bus {
 public:
  // `device` must outlive the bus. kAlreadyExists when the range overlaps another, kInvalidArgument
  // when it is empty or wraps.
  absl::Status Insert(uint64_t start, uint64_t size, BusDevice* device);

  // True when a device answered.
  bool Read(uint64_t address, absl::Span<uint8_t> data) const;
  bool Write(uint64_t address, absl::Span<const uint8_t> data) const;

 private:
  struct Entry {
    uint64_t size;
    BusDevice* device;
  };
  const Entry* Find(uint64_t address, uint64_t length, uint64_t* offset) const;

  std::map<uint64_t, Entry> entries_;
};

}  // namespace vmm

#endif  // DEVICES_BUS_H_
