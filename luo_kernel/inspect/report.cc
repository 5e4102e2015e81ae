#include "luo_kernel/inspect/report.h"

namespace luo {

CountBySize MemfdReport::FoliosBySize() const {
  CountBySize counts;
  for (const FolioRun& run : folios) counts[run.folio_bytes] += run.count;
  return counts;
}

}  // namespace luo
