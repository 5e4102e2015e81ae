// What every device that outlives an update implements: saving is a getter, restoring is a
// constructor.
//
//   Tree state = serial.Save();  // vCPUs paused, device quiesced
//   ASSIGN_OR_RETURN(auto again, Serial16550::Restore(state, line, output));  // in the new VMM
//
// A saved node carries `compatible` = "vmm,<device>-v<N>" and whatever the device needs. Restore()
// refuses a compatible it does not know and any value that the running device could not have had.
// devices/device_test_suite.h runs over every device.
#ifndef DEVICES_DEVICE_H_
#define DEVICES_DEVICE_H_

#include "base/tree.h"
#include "devices/bus.h"

namespace vmm {

// An interrupt input of the VM, level- or edge-triggered as its user drives it. Implementations are
// thread-safe.
class InterruptLine {
 public:
  virtual ~InterruptLine() = default;
  virtual void Set(bool asserted) = 0;
};

class Device : public BusDevice {
 public:
  // The whole guest-visible state, as a node under the device's generic name ("serial"). Pure:
  // changes nothing, may be called any number of times while the vCPUs are paused.
  virtual Tree Save() const = 0;
};

}  // namespace vmm

#endif  // DEVICES_DEVICE_H_
