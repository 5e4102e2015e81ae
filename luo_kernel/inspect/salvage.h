// What is left of a handover whose map and root are lost: a kernel that boots on a handover frees
// both once it has read them, long before anybody has retrieved a file. The image of a machine that
// died in between still has the lists of sessions and files, known by their looks, and what they
// lead to.
//
//   std::optional<HandoverReport> handover = Salvage(*image);
//
// A page is taken for a block of files where each entry has a handler's name and "memfd-v2" is
// among them, for a block of sessions where one of its sessions has such files and each has a name
// and files that make sense. The list of sessions goes when /dev/liveupdate is first opened, a
// session's files when it is finished: then they are shown without a name, or not at all. Folios'
// sizes are taken from their places in the file. What else looks like a list, an old one whose
// pages nobody has written to since, is shown as well.
#ifndef LUO_KERNEL_INSPECT_SALVAGE_H_
#define LUO_KERNEL_INSPECT_SALVAGE_H_

#include <optional>

#include "luo_kernel/inspect/physical_reader.h"
#include "luo_kernel/inspect/report.h"

namespace luo {

// Nothing where no list was found. Looks at each page of memory.
std::optional<HandoverReport> Salvage(const PhysicalReader& memory);

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_SALVAGE_H_
