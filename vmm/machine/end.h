// Why a machine ended.
#ifndef VMM_MACHINE_END_H_
#define VMM_MACHINE_END_H_

#include <string>

namespace vmm {

struct MachineEnd {
  enum class Reason {
    kPowerOff,     // the guest switched itself off
    kReset,        // the guest asked for a reset
    kTripleFault,  // a vCPU shut down: the guest broke beyond repair
    kError,        // KVM or the VMM cannot go on; `detail` says why
  };
  Reason reason;
  std::string detail;
};

}  // namespace vmm

#endif  // VMM_MACHINE_END_H_
