// "luo-v5": what one kernel's Live Update Orchestrator leaves for the next. LUO.md draws how the
// structures hang together.
//
//   LuoSer luo;
//   RETURN_IF_ERROR(memory.Read(address, absl::MakeSpan(reinterpret_cast<uint8_t*>(&luo),
//                                                       sizeof(luo))));
//
// All numbers are little-endian and all addresses physical; 0 means "none". Strings end with a NUL
// inside their field and are filled up with NULs. Blocks of entries ("block list") are those of
// abi/block.h. Whoever reads bytes from outside copies a structure out before looking at it.
//
// Source: Linux 7.3, include/linux/kho/abi/luo.h; limits from kernel/liveupdate/luo_flb.c and
// include/uapi/linux/liveupdate.h.
#ifndef LUO_KERNEL_ABI_LUO_V5_H_
#define LUO_KERNEL_ABI_LUO_V5_H_

#include <stddef.h>
#include <stdint.h>

#include <type_traits>

namespace luo::abi {

// The KHO subtree under which a LuoSer is handed over.
inline constexpr char kLuoSubtree[] = "LUO";
inline constexpr char kLuoCompatible[] = "luo-v5";

// With the NUL at the end.
inline constexpr size_t kSessionNameBytes = 64;
inline constexpr size_t kFileCompatibleBytes = 48;
inline constexpr size_t kFlbCompatibleBytes = 48;

// The root of it all.
struct LuoSer {
  char compatible[8];
  // How many live updates this machine will have had once the next kernel runs.
  uint64_t liveupdate_num;
  // First block of a block list of LuoSessionSer; 0 when there is no session.
  uint64_t sessions_pa;
  // A LuoFlbHeaderSer.
  uint64_t flbs_pa;
};
static_assert(sizeof(LuoSer) == 32);
static_assert(offsetof(LuoSer, liveupdate_num) == 8);
static_assert(offsetof(LuoSer, sessions_pa) == 16);
static_assert(offsetof(LuoSer, flbs_pa) == 24);
static_assert(sizeof(kLuoCompatible) <= sizeof(LuoSer::compatible));
static_assert(std::is_trivially_copyable_v<LuoSer>);

// One file of a session.
struct LuoFileSer {
  // Names the file handler and the version of what `data` means ("memfd-v2").
  char compatible[kFileCompatibleBytes];
  // The handler's own; most often the address of a structure.
  uint64_t data;
  // What user space called the file; unique in its session.
  uint64_t token;
};
static_assert(sizeof(LuoFileSer) == 64);
static_assert(offsetof(LuoFileSer, data) == 48);
static_assert(offsetof(LuoFileSer, token) == 56);
static_assert(std::is_trivially_copyable_v<LuoFileSer>);

struct LuoFileSetSer {
  // First block of a block list of LuoFileSer; 0 when there is no file.
  uint64_t files;
  // How many entries that list has.
  uint64_t count;
};
static_assert(sizeof(LuoFileSetSer) == 16);
static_assert(offsetof(LuoFileSetSer, count) == 8);

// One session.
struct LuoSessionSer {
  char name[kSessionNameBytes];
  LuoFileSetSer file_set;
};
static_assert(sizeof(LuoSessionSer) == 80);
static_assert(offsetof(LuoSessionSer, file_set) == 64);
static_assert(std::is_trivially_copyable_v<LuoSessionSer>);

// Begins the one page of file-lifecycle-bound objects (FLBs); `count` LuoFlbSer follow at once.
struct LuoFlbHeaderSer {
  // Pages of the whole area: kLuoFlbPages.
  uint64_t pgcnt;
  uint64_t count;
};
static_assert(sizeof(LuoFlbHeaderSer) == 16);
static_assert(offsetof(LuoFlbHeaderSer, count) == 8);
static_assert(std::is_trivially_copyable_v<LuoFlbHeaderSer>);

// One FLB.
struct LuoFlbSer {
  char name[kFlbCompatibleBytes];
  uint64_t data;
  // How many preserved files need it, over all sessions.
  uint64_t count;
};
static_assert(sizeof(LuoFlbSer) == 64);
static_assert(offsetof(LuoFlbSer, data) == 48);
static_assert(offsetof(LuoFlbSer, count) == 56);
static_assert(std::is_trivially_copyable_v<LuoFlbSer>);

inline constexpr uint64_t kLuoFlbPages = 1;
inline constexpr size_t kMaxFlbs =
    (kLuoFlbPages * 4096 - sizeof(LuoFlbHeaderSer)) / sizeof(LuoFlbSer);
static_assert(kMaxFlbs == 63);

}  // namespace luo::abi

#endif  // LUO_KERNEL_ABI_LUO_V5_H_
