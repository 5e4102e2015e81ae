// The socket of a hosted instance (`luo-emulate --socket PATH`), by which programs join it and
// others look at its memory.
//
//   // luoctl inspect:
//   ASSIGN_OR_RETURN(InspectedMachine machine, InspectHosted("/run/luo.sock"));
//   for (const InspectedExtent& extent : machine.extents) ...   // pread(extent.file.get(), ...)
//   machine.handover   // of what a kexec right now would hand over
//
// The wire, on a SOCK_SEQPACKET socket of AF_UNIX, numbers in the machine's byte order:
//   client: SocketRequest
//   server: SocketReply; after it, for kInspect, packets of up to kExtentsPerPacket SocketExtents
//           until there were `extents` of them. The file of each travels with its packet
//           (SCM_RIGHTS, in the same order) and is open for reading only.
// A kJoin request carries one descriptor, the seccomp listener of the program that joins. The
// server keeps the connection; when its end is closed, the instance has ended or goes through a
// kexec, and the one who joined kills its programs and closes its own end.
//
// The instance goes on meanwhile: memory may change while it is looked at, and a file of kData may
// change its size. Readers must take it for hostile.
//
// Errors: kInvalidArgument for what is malformed or of another version; else the errno.
#ifndef LUO_KERNEL_HOSTED_INSPECT_SOCKET_H_
#define LUO_KERNEL_HOSTED_INSPECT_SOCKET_H_

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/unique_fd.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/kho/extent_memory.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

inline constexpr uint32_t kSocketMagic = 0x484f554c;  // "LUOH"
inline constexpr uint32_t kSocketVersion = 1;
inline constexpr size_t kExtentsPerPacket = 64;
// What a reader accepts.
inline constexpr uint32_t kMaxExtents = 1 << 20;

enum class SocketRequestKind : uint32_t { kInspect = 1, kJoin = 2 };

struct SocketRequest {
  uint32_t magic;
  uint32_t version;
  uint32_t kind;      // SocketRequestKind
  uint32_t reserved;  // 0
};
static_assert(sizeof(SocketRequest) == 16);

struct SocketReply {
  uint32_t magic;
  uint32_t version;
  int32_t error;         // an errno; then the rest is 0
  uint32_t extents;      // kInspect: how many follow
  uint64_t generation;   // hosted kexecs so far
  uint32_t kexec_image;  // 1: a program has loaded the next kernel
  uint32_t reserved;
  abi::KhoData handover;  // what the next kernel would be told
};
static_assert(sizeof(SocketReply) == 64);
static_assert(offsetof(SocketReply, generation) == 16);
static_assert(offsetof(SocketReply, handover) == 32);

struct SocketExtent {
  uint64_t address;  // physical, bytes
  uint64_t size;     // bytes
  uint64_t offset;   // in its file, bytes
  uint32_t use;      // 0 kMetadata, 1 kData
  uint32_t reserved;
};
static_assert(sizeof(SocketExtent) == 32);

struct InspectedExtent {
  PhysicalRange range;
  uint64_t offset = 0;
  ExtentUse use = ExtentUse::kData;
  vmm::UniqueFd file;  // for reading
};

struct InspectedMachine {
  uint64_t generation = 0;
  bool kexec_image = false;
  abi::KhoData handover = {};
  std::vector<InspectedExtent> extents;
};

// Asks the instance that listens on `path`. What it says is checked for form only.
absl::StatusOr<InspectedMachine> InspectHosted(const std::string& path);

// The two ends, in parts.

// A socket that listens on `path`, for its owner only. One that nobody listens on any more is
// replaced; EADDRINUSE otherwise.
absl::StatusOr<vmm::UniqueFd> ListenOn(const std::string& path);
absl::StatusOr<vmm::UniqueFd> ConnectTo(const std::string& path);
// One packet with its descriptors, which stay the caller's.
absl::Status SendPacket(int socket, absl::Span<const uint8_t> bytes, absl::Span<const int> files);
// One packet of at most `max_size` bytes; an empty one at the connection's end. kInvalidArgument
// where more came.
struct Packet {
  std::vector<uint8_t> bytes;
  std::vector<vmm::UniqueFd> files;
};
absl::StatusOr<Packet> ReceivePacket(int socket, size_t max_size);

absl::StatusOr<SocketRequestKind> ParseRequest(absl::Span<const uint8_t> bytes);
absl::StatusOr<SocketReply> ParseReply(absl::Span<const uint8_t> bytes);
// The extents of one packet, their files not yet in them.
absl::StatusOr<std::vector<InspectedExtent>> ParseExtents(absl::Span<const uint8_t> bytes);

// The server's answer to kInspect. `machine`'s files may be open for writing too.
absl::Status SendInspection(int socket, uint64_t generation, bool kexec_image,
                            const abi::KhoData& handover, const std::vector<Extent>& extents);

}  // namespace luo

#endif  // LUO_KERNEL_HOSTED_INSPECT_SOCKET_H_
