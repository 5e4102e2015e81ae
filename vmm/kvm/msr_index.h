// The numbers of the MSRs that saving and restoring has to know apart. Private to vmm/kvm.
//
// Sources: Intel SDM vol. 4, table 2-2; Linux 7.3, arch/x86/include/asm/msr-index.h,
// arch/x86/include/uapi/asm/kvm_para.h and include/hyperv/hvgdk_mini.h.
#ifndef VMM_KVM_MSR_INDEX_H_
#define VMM_KVM_MSR_INDEX_H_

#include <stdint.h>

#include <vector>

namespace vmm {

inline constexpr uint32_t kMsrTsc = 0x10;
inline constexpr uint32_t kMsrTscDeadline = 0x6e0;
inline constexpr uint32_t kMsrKvmWallClock = 0x11;
inline constexpr uint32_t kMsrKvmWallClockNew = 0x4b564d00;
inline constexpr uint32_t kMsrVmxFirst = 0x480;
inline constexpr uint32_t kMsrVmxLast = 0x493;
inline constexpr uint32_t kMsrHyperVFirst = 0x40000000;
inline constexpr uint32_t kMsrHyperVLast = 0x400001ff;

// MSRs with guest state that KVM_GET_MSR_INDEX_LIST does not list: the MTRRs (Linux 7.3,
// arch/x86/kvm/mtrr.c: find_mtrr) and the machine-check banks (arch/x86/kvm/msrs.c: get_msr_mce).
inline std::vector<uint32_t> UnlistedStateMsrs() {
  constexpr uint32_t kVariableMtrrs = 8;       // KVM_NR_VAR_MTRR
  constexpr uint32_t kMachineCheckBanks = 32;  // KVM_MAX_MCE_BANKS
  std::vector<uint32_t> msrs = {0x250, 0x258, 0x259, 0x268, 0x269, 0x26a,
                                0x26b, 0x26c, 0x26d, 0x26e, 0x26f, 0x2ff};
  for (uint32_t i = 0; i < 2 * kVariableMtrrs; ++i) msrs.push_back(0x200 + i);
  for (uint32_t i = 0; i < 4 * kMachineCheckBanks; ++i) msrs.push_back(0x400 + i);
  for (uint32_t i = 0; i < kMachineCheckBanks; ++i) msrs.push_back(0x280 + i);
  return msrs;
}

}  // namespace vmm

#endif  // VMM_KVM_MSR_INDEX_H_
