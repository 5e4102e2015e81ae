// "memfd-v2": how one kernel's memfd handler describes a file to the next. MEMFD.md says it in
// words.
//
//   abi::MemfdFolioSer entry;
//   entry.Set(/*frame=*/0x40000, abi::kFolioDirty | abi::kFolioUptodate, /*index=*/0);
//
// Little-endian; `data` of the file's LuoFileSer is the address of a MemfdSer.
//
// Source: Linux 7.3, include/linux/kho/abi/memfd.h and mm/memfd_luo.c.
#ifndef LUO_KERNEL_ABI_MEMFD_V2_H_
#define LUO_KERNEL_ABI_MEMFD_V2_H_

#include <stddef.h>
#include <stdint.h>

#include <type_traits>

#include "luo_kernel/abi/kho_v4.h"

namespace luo::abi {

inline constexpr char kMemfdCompatible[] = "memfd-v2";

// Flags of a folio. Linux 7.3 always sets both.
inline constexpr uint64_t kFolioDirty = uint64_t{1} << 0;     // holds user data
inline constexpr uint64_t kFolioUptodate = uint64_t{1} << 1;  // has been zeroed or written
inline constexpr uint64_t kFolioKnownFlags = kFolioDirty | kFolioUptodate;

// One folio. Its size is not here: it is the order under which KHO has the page frame preserved.
struct MemfdFolioSer {
  uint64_t frame_and_flags;  // bits 0 to 51 the page frame number, 52 to 63 the flags
  uint64_t index;            // the folio's first page in the file

  static constexpr uint64_t kFrameBits = 52;
  constexpr uint64_t frame() const { return frame_and_flags & ((uint64_t{1} << kFrameBits) - 1); }
  constexpr uint64_t flags() const { return frame_and_flags >> kFrameBits; }
  constexpr void Set(uint64_t frame, uint64_t flags, uint64_t file_index) {
    frame_and_flags = (frame & ((uint64_t{1} << kFrameBits) - 1)) | flags << kFrameBits;
    index = file_index;
  }
};
static_assert(sizeof(MemfdFolioSer) == 16);
static_assert(offsetof(MemfdFolioSer, index) == 8);
static_assert(std::is_trivially_copyable_v<MemfdFolioSer>);

// Seals that "memfd-v2" knows: F_SEAL_SEAL, _SHRINK, _GROW, _WRITE, _FUTURE_WRITE, _EXEC
// (include/uapi/linux/fcntl.h).
inline constexpr uint32_t kMemfdSeals = 0x3f;

// The file.
struct MemfdSer {
  uint64_t pos;   // of the open file description
  uint64_t size;  // bytes
  uint32_t seals;
  uint32_t flags;  // 0
  uint64_t nr_folios;
  Vmalloc folios;  // an array of nr_folios MemfdFolioSer; all 0 where there is none
};
static_assert(sizeof(MemfdSer) == 48);
static_assert(offsetof(MemfdSer, size) == 8);
static_assert(offsetof(MemfdSer, seals) == 16);
static_assert(offsetof(MemfdSer, flags) == 20);
static_assert(offsetof(MemfdSer, nr_folios) == 24);
static_assert(offsetof(MemfdSer, folios) == 32);
static_assert(std::is_trivially_copyable_v<MemfdSer>);

// memfd_pin_folios() counts folios in 32 bits: a larger file is refused (EFBIG).
inline constexpr uint64_t kMaxMemfdPages = 0xffffffff;

}  // namespace luo::abi

#endif  // LUO_KERNEL_ABI_MEMFD_V2_H_
