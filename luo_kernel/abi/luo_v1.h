// "luo-v1": the first form of LUO's handover, a flattened device tree. For reading only; LUO.md
// says how it differs from "luo-v5".
//
//   /  compatible = "luo-v1"; liveupdate-number = u64
//      luo-session  compatible = "luo-session-v2" (or -v1); luo-session-header = u64 address
//      luo-flb      compatible = "luo-flb-v1"; luo-flb-header = u64 address (may be missing)
//
// The tree's u64 are in the byte order of the machine, not big-endian as device trees have them.
// Sessions and files lie in contiguous arrays, not in block lists. Entries are those of luo_v5.h:
// LuoSessionSer, LuoFileSer, LuoFlbHeaderSer, LuoFlbSer. "luo-session-v1" has names only.
//
// Source: Linux 6.19, include/linux/kho/abi/luo.h and kernel/liveupdate/luo_{session,file,flb}.c.
#ifndef LUO_KERNEL_ABI_LUO_V1_H_
#define LUO_KERNEL_ABI_LUO_V1_H_

#include <stddef.h>
#include <stdint.h>

#include "luo_kernel/abi/luo_v5.h"

namespace luo::abi {

inline constexpr char kLuoV1Compatible[] = "luo-v1";
inline constexpr char kLuoV1Number[] = "liveupdate-number";
inline constexpr char kLuoV1SessionNode[] = "luo-session";
inline constexpr char kLuoV1SessionCompatible1[] = "luo-session-v1";
inline constexpr char kLuoV1SessionCompatible2[] = "luo-session-v2";
inline constexpr char kLuoV1SessionHeader[] = "luo-session-header";
inline constexpr char kLuoV1FlbNode[] = "luo-flb";
inline constexpr char kLuoV1FlbCompatible[] = "luo-flb-v1";
inline constexpr char kLuoV1FlbHeader[] = "luo-flb-header";

// The tree is one page (LUO_FDT_SIZE).
inline constexpr size_t kLuoV1TreeBytes = 4096;

// At luo-session-header; `count` entries follow at once.
struct LuoV1SessionHeaderSer {
  uint64_t count;
};
static_assert(sizeof(LuoV1SessionHeaderSer) == 8);

// The session of "luo-session-v1", which was never in a release.
struct LuoV1SessionNameSer {
  char name[kSessionNameBytes];
};
static_assert(sizeof(LuoV1SessionNameSer) == 64);

// A session area is 16 pages, a session's files two (LUO_SESSION_MAX, LUO_FILE_MAX).
inline constexpr uint64_t kLuoV1MaxSessions =
    (16 * 4096 - sizeof(LuoV1SessionHeaderSer)) / sizeof(LuoSessionSer);
static_assert(kLuoV1MaxSessions == 819);
inline constexpr uint64_t kLuoV1MaxFiles = 2 * 4096 / sizeof(LuoFileSer);
static_assert(kLuoV1MaxFiles == 128);

}  // namespace luo::abi

#endif  // LUO_KERNEL_ABI_LUO_V1_H_
