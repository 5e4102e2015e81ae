// What `vmm` exits with. `vmm --help` and README.md list them; scripts depend on them.
#ifndef VMM_CLI_EXIT_CODES_H_
#define VMM_CLI_EXIT_CODES_H_

namespace vmm {

inline constexpr int kExitPowerOff = 0;     // the guest switched itself off
inline constexpr int kExitError = 1;        // bad input, or the host failed
inline constexpr int kExitUsage = 2;        // the command line is wrong
inline constexpr int kExitGuestReset = 3;   // the guest asked for a reset, and --on-reset=exit
inline constexpr int kExitTripleFault = 4;  // a vCPU shut down
inline constexpr int kExitVmError = 5;      // KVM could not run the guest any further
// SIGTERM, SIGINT and SIGHUP end the VM at once; the code is 128 + the signal's number, as shells
// have it.
inline constexpr int kExitSignalBase = 128;

}  // namespace vmm

#endif  // VMM_CLI_EXIT_CODES_H_
