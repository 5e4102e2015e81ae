// Where a guest's wish to power off or to be reset goes: implemented by whoever runs the machine.
#ifndef DEVICES_LEGACY_POWER_SINK_H_
#define DEVICES_LEGACY_POWER_SINK_H_

namespace vmm {

// Both are called on a vCPU's thread, with no lock of the device held, and may be called again
// before the machine has stopped. Thread-safe; must return soon: stopping the vCPUs is for another
// thread.
class PowerSink {
 public:
  virtual ~PowerSink() = default;
  virtual void PowerOff() = 0;
  virtual void Reset() = 0;
};

}  // namespace vmm

#endif  // DEVICES_LEGACY_POWER_SINK_H_
