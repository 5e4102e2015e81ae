// What tests hand to the devices of this folder.
#ifndef DEVICES_LEGACY_FAKES_H_
#define DEVICES_LEGACY_FAKES_H_

#include <string>

#include "absl/types/span.h"
#include "devices/device.h"
#include "devices/legacy/power_sink.h"
#include "devices/legacy/serial_output.h"

namespace vmm {

// Remembers its level and counts the rising edges, which is what an edge-triggered input delivers.
class FakeInterruptLine : public InterruptLine {
 public:
  void Set(bool asserted) override {
    if (asserted && !level) ++edges;
    level = asserted;
    ++calls;
  }

  bool level = false;
  int edges = 0;
  int calls = 0;
};

class FakeSerialOutput : public SerialOutput {
 public:
  void Write(absl::Span<const uint8_t> bytes) override { text.append(bytes.begin(), bytes.end()); }

  std::string text;
};

class FakePowerSink : public PowerSink {
 public:
  void PowerOff() override { ++power_offs; }
  void Reset() override { ++resets; }

  int power_offs = 0;
  int resets = 0;
};

}  // namespace vmm

#endif  // DEVICES_LEGACY_FAKES_H_
