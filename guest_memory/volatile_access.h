// Copies between host memory and guest RAM, which running vCPUs read and write at the same time.
//
// Each byte of guest RAM is accessed exactly once, so no check can be made on one value and use
// another. Bytes move in the widest naturally aligned words of 8, 4, 2 and 1 that fit; so an
// aligned access of one of these sizes is one access, as atomic as the CPU's own. There is no
// ordering beyond that of volatile (program order for the compiler; x86's for the CPU).
//
// Pointers are trusted here: GuestMemory checks bounds.
#ifndef GUEST_MEMORY_VOLATILE_ACCESS_H_
#define GUEST_MEMORY_VOLATILE_ACCESS_H_

#include <stddef.h>
#include <stdint.h>

namespace vmm {

void CopyFromGuest(const uint8_t* guest, uint8_t* out, size_t size);
void CopyToGuest(uint8_t* guest, const uint8_t* bytes, size_t size);
void FillGuest(uint8_t* guest, uint8_t value, size_t size);

}  // namespace vmm

#endif  // GUEST_MEMORY_VOLATILE_ACCESS_H_
