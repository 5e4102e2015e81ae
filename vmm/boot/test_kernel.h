// A guest that does as it is told, for tests of whole VMs: an ELF kernel with a PVH entry, of a few
// hundred bytes, that runs even where KVM has to emulate every instruction.
//
//   UniqueFd file = FileWith(TestKernel());
//   config.kernel = absl::StrCat("/proc/self/fd/", file.get());
//   config.command_line = "o";   // powers off at once
//
// It prints "up\n" on COM1 and then counts in RAM without end. Between counts it obeys what comes,
// byte by byte, from its command line and after that from COM1:
//
//   o  powers off (ACPI)                 b  writes kBulkSize bytes at kBulkData to COM1, by one
//   r  resets by port 0xcf9                 `rep outsb`
//   k  resets by the keyboard's port     i  fills kBulkSize bytes at kBulkCopy by one `rep insb`
//   t  triple-faults                        from a port that nobody answers, then prints "i"
//   h  halts for good                    m  accesses an address where nothing is; prints "m" if it
//   a  starts all APs, each of which        read all ones
//      counts in RAM
//
// Any other byte is printed.
#ifndef VMM_BOOT_TEST_KERNEL_H_
#define VMM_BOOT_TEST_KERNEL_H_

#include <stddef.h>
#include <stdint.h>

#include <vector>

#include "guest_memory/address.h"

namespace vmm {

inline constexpr char kTestKernelGreeting[] = "up\n";

// What it counts in, a u32.
inline constexpr GuestAddress kTestKernelCounter(0x300100);
// How many APs have started, and then a counter for each: u32s.
inline constexpr GuestAddress kTestKernelApCounters(0x8f00);

inline constexpr GuestAddress kBulkData(0x400000);
inline constexpr GuestAddress kBulkCopy(0x500000);
inline constexpr size_t kBulkSize = 0x4000;

// The file.
std::vector<uint8_t> TestKernel();

}  // namespace vmm

#endif  // VMM_BOOT_TEST_KERNEL_H_
