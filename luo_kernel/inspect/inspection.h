// Inspection: what the readers of a handover's parts have in common: the memory, the map of what is
// preserved, the problems, and who says that which memory is theirs.
//
//   if (!inspection.Claim(address, sizeof(abi::LuoSer), "LUO")) return;   // told why
//   absl::StatusOr<abi::LuoSer> luo = inspection.memory().Load<abi::LuoSer>(address);
//
// Every page of metadata is read through Claim(), which grants it once: so a handover whose parts
// point at each other, or at one another's memory, is read in a time bounded by its size.
#ifndef LUO_KERNEL_INSPECT_INSPECTION_H_
#define LUO_KERNEL_INSPECT_INSPECTION_H_

#include <stdint.h>

#include <functional>
#include <map>
#include <string>
#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "luo_kernel/inspect/physical_reader.h"
#include "luo_kernel/inspect/preserved_runs.h"
#include "luo_kernel/inspect/problems.h"

namespace luo {

class Inspection {
 public:
  // All outlive this. `preserved` is null where the map of it is lost: then nobody asks whether
  // something is preserved.
  Inspection(const PhysicalReader& memory, const PreservedRuns* preserved, Problems& problems)
      : memory_(memory), preserved_(preserved), problems_(problems) {}

  const PhysicalReader& memory() const { return memory_; }
  const PreservedRuns* preserved() const { return preserved_; }
  Problems& problems() { return problems_; }

  // Takes the pages at `address`, where metadata begins, for `what`. False, with a problem told,
  // where they are not a page's begin, not in memory, or taken already: do not read them then. That
  // they are not preserved is a problem too, but they can be read.
  bool Claim(uint64_t address, uint64_t size, absl::string_view what);

  // Whether the page at `address` was claimed as metadata.
  bool IsMetadata(uint64_t address) const;

  // Takes memory that is not read, for the last owner that was begun.
  void BeginOwner(std::string owner) { owners_.push_back(std::move(owner)); }
  void ClaimContents(uint64_t address, uint64_t size);

  // Calls `take` with each entry of a block list (abi/block.h), as far as it can be followed.
  // Returns how many there were.
  uint64_t ForEachEntry(uint64_t head, uint64_t entry_size, absl::string_view what,
                        const std::function<void(absl::Span<const uint8_t>)>& take);

  // The same with the `count` entries that lie in a row from `address` on, a page's begin, after
  // `skip` bytes. More than `most` are a problem, and none is taken.
  uint64_t ForEachInArray(uint64_t address, uint64_t skip, uint64_t count, uint64_t most,
                          uint64_t entry_size, absl::string_view what,
                          const std::function<void(absl::Span<const uint8_t>)>& take);

  // Tells what was claimed twice; returns the bytes of all claims. Ends the inspection.
  uint64_t CheckClaims();

 private:
  struct Claimed {
    uint64_t address;
    uint64_t size;
    uint64_t owner;  // index in owners_
  };

  const PhysicalReader& memory_;
  const PreservedRuns* preserved_;
  Problems& problems_;
  std::vector<std::string> owners_;
  std::vector<Claimed> claims_;
  // {address: end}, apart. Not page by page: a size may say that all of a large machine's memory is
  // metadata.
  std::map<uint64_t, uint64_t> metadata_;
};

// "field" as a string, which has to end inside it; what else is in it is a problem of `what`.
std::string StringField(absl::Span<const char> field, absl::string_view what, Problems& problems);

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_INSPECTION_H_
