// What a handover holds, as plain values: filled by handover_reader.h, shown by text.h and json.h.
//
//   for (const HandoverReport& handover : report.handovers)
//     if (handover.luo.has_value())
//       for (const SessionReport& session : handover.luo->sessions) ...
//
// Whatever is absent because it could not be read has a line among the problems. Sizes are bytes,
// addresses physical. Strings are as found and need not be UTF-8.
#ifndef LUO_KERNEL_INSPECT_REPORT_H_
#define LUO_KERNEL_INSPECT_REPORT_H_

#include <stdint.h>

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "luo_kernel/inspect/physical_reader.h"
#include "luo_kernel/inspect/problems.h"

namespace luo {

// {bytes of a block: how many such blocks}.
using CountBySize = std::map<uint64_t, uint64_t>;

// `count` folios one after the other, in memory and in the file.
struct FolioRun {
  uint64_t address = 0;
  uint64_t index = 0;  // of the file's page that the first folio begins with
  uint64_t folio_bytes = 0;
  uint64_t count = 0;
  uint64_t size() const { return folio_bytes * count; }
};

struct MemfdReport {
  uint64_t address = 0;  // of its own structure
  uint64_t size = 0;
  uint64_t position = 0;  // the file offset
  uint32_t seals = 0;     // F_SEAL_*
  uint32_t flags = 0;
  uint64_t folio_count = 0;      // as its structure says
  std::vector<FolioRun> folios;  // as found, in the order of the file
  uint64_t metadata_bytes = 0;   // the structure and the list of folios
  CountBySize FoliosBySize() const;
};

struct FileReport {
  uint64_t token = 0;
  std::string compatible;  // names the handler
  uint64_t data = 0;       // the handler's own; most often an address
  std::optional<MemfdReport> memfd;
};

struct SessionReport {
  std::string name;
  uint64_t file_count = 0;  // as the session says
  std::vector<FileReport> files;
};

struct FlbReport {
  std::string name;
  uint64_t data = 0;
  uint64_t file_count = 0;
};

struct LuoReport {
  std::string compatible;
  uint64_t number = 0;            // of the update that this is for
  uint64_t sessions_address = 0;  // 0: none are written down
  uint64_t flbs_address = 0;
  std::vector<SessionReport> sessions;
  std::vector<FlbReport> flbs;
};

// What the old kernel says of itself ("kexec-metadata").
struct KexecReport {
  std::string previous_release;
  uint32_t count = 0;  // kexecs since power-on, this one included
};

// Another subsystem's entry.
struct SubtreeReport {
  std::string name;
  uint64_t address = 0;
  uint64_t size = 0;
};

struct HandoverReport {
  uint64_t address = 0;  // of KHO's device tree
  std::string origin;    // how it was found
  std::string compatible;
  std::vector<MemoryRange> scratch;  // where the next kernel boots; empty where it is not known
  uint64_t map_address = 0;
  uint64_t map_pages = 0;  // that the memory map itself takes; 0: what is preserved is not known
  CountBySize preserved;
  uint64_t preserved_bytes = 0;
  uint64_t claimed_bytes = 0;  // of those, what the rest of this report accounts for
  std::vector<SubtreeReport> subtrees;
  std::optional<KexecReport> kexec;
  std::optional<LuoReport> luo;
  // Found among what is preserved, while no session is written down that could name them.
  std::vector<MemfdReport> unassigned;
  Problems problems;
};

struct Report {
  std::string source;  // the image's path, "this kernel, by /proc/kcore", ...
  uint64_t memory_bytes = 0;
  std::string kernel;  // release of the kernel whose memory it is, where it is known
  std::vector<HandoverReport> handovers;
  std::vector<std::string> notes;  // what could not be looked at, and why
};

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_REPORT_H_
