// Whether the host gives 2 MiB folios to shmem, and with it to memfds.
//
//   std::string why = WhyNoShmemHugePages();
//   if (!why.empty()) LogWarning(why);
//
// Two files decide (Linux 7.3, Documentation/admin-guide/mm/transhuge.rst, "Hugepages in
// tmpfs/shmem", and mm/shmem.c, shmem_allowable_huge_orders): `shmem_enabled`, and, since Linux
// 6.11, `hugepages-2048kB/shmem_enabled`, which by default says "inherit": ask the former.
#ifndef GUEST_MEMORY_SHMEM_HUGE_PAGES_H_
#define GUEST_MEMORY_SHMEM_HUGE_PAGES_H_

#include <string>

namespace vmm {

inline constexpr char kTransparentHugepageDir[] = "/sys/kernel/mm/transparent_hugepage";

// For a mapping with MADV_HUGEPAGE: empty when it gets 2 MiB folios, else one line that names the
// setting in the way and the command that changes it.
std::string WhyNoShmemHugePages(const std::string& transparent_hugepage_dir);

}  // namespace vmm

#endif  // GUEST_MEMORY_SHMEM_HUGE_PAGES_H_
