// What LUO hands over, read from memory without taking it: for inspection, and for what boots on
// it; and written whole, for tests and for handing something to a kernel that runs in a guest.
//
//   ASSIGN_OR_RETURN(Subtree subtree, handover.FindSubtree(abi::kLuoSubtree));
//   ASSIGN_OR_RETURN(LuoImage image, ReadLuo(memory, subtree.address, subtree.size));
//   for (const SessionImage& session : image.sessions) ...
//
// Reading is safe for memory of any contents: a page is read once at most, so the work is bounded
// by the memory's size. Errors: kFailedPrecondition (EINVAL) for a version that is not known here,
// kDataLoss for what is malformed, kOutOfRange for what lies outside memory. Formats:
// luo_kernel/abi/LUO.md.
//
// Threads: none; what is returned are values.
#ifndef LUO_KERNEL_LUO_IMAGE_H_
#define LUO_KERNEL_LUO_IMAGE_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

struct FileImage {
  std::string compatible;
  uint64_t data = 0;
  uint64_t token = 0;
  friend bool operator==(const FileImage&, const FileImage&) = default;
};

struct SessionImage {
  std::string name;
  std::vector<FileImage> files;
  friend bool operator==(const SessionImage&, const SessionImage&) = default;
};

struct FlbImage {
  std::string name;
  uint64_t data = 0;
  uint64_t count = 0;  // files that need it
  friend bool operator==(const FlbImage&, const FlbImage&) = default;
};

struct LuoImage {
  std::string version;  // "luo-v5", "luo-v1"
  uint64_t number = 0;  // live updates, the one to come included
  std::vector<SessionImage> sessions;
  std::vector<FlbImage> flbs;
  // Where all of this lay, in no order; the files' data not included.
  std::vector<PhysicalRange> pages;
};

// Whatever version the subtree "LUO" is. `size` is that of the blob as the handover says it.
absl::StatusOr<LuoImage> ReadLuo(const PhysicalMemory& memory, PhysicalAddress address,
                                 uint64_t size);
absl::StatusOr<LuoImage> ReadLuoV5(const PhysicalMemory& memory, PhysicalAddress address,
                                   uint64_t size);
absl::StatusOr<LuoImage> ReadLuoV1(const PhysicalMemory& memory, PhysicalAddress address,
                                   uint64_t size);

// Writes `image` as "luo-v5" and adds it to `outgoing` as its subtree "LUO"; version and pages are
// not looked at. kInvalidArgument for names of a wrong length; what OutgoingHandover says. For a
// handover of nobody's: after an error some pages may stay taken.
absl::Status WriteLuoV5(OutgoingHandover& outgoing, const LuoImage& image);

// The FLBs in the area at `address`, 0 for none. For LiveUpdate.
absl::StatusOr<std::vector<FlbImage>> ReadFlbs(const PhysicalMemory& memory,
                                               PhysicalAddress address);

}  // namespace luo

#endif  // LUO_KERNEL_LUO_IMAGE_H_
