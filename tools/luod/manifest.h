// The manifest: what luod tells its successor under the next kernel. LUO lists no sessions, so
// whoever retrieves them must know their names; and nobody else remembers how to start each VM
// again.
//
//   ASSIGN_OR_RETURN(UniqueFd memfd, WriteManifest(manifest));  // old kernel, before FREEZE
//   RETURN_IF_ERROR(RewriteManifest(memfd.get(), manifest));    // after FREEZE: same size
//   ASSIGN_OR_RETURN(Manifest manifest, ReadManifest(fd));      // new kernel
//
// The bytes are ABI between versions of luod: a Tree in the frame of the state memfd
// (vmm/state/FORMAT.md: magic, size, CRC-32), with a schema of its own, "luod,manifest-v1". The
// root has these properties:
// - old-kernel: string; generation, tsc-khz: u64
// - check-tsc, prepare-tsc, freeze-tsc, kexec-tsc, luod-tsc, retrieved-tsc: u64
//
// and a node vm@N (hexadecimal, from 0) for each VM, in the order in which they are resumed:
// - name, session: string; resume-argv: list of strings
// - vcpus, outcome (an Outcome): u32
// - memory-bytes, prepare-ns, freeze-ns, state-bytes, pause-tsc, run-tsc: u64
//
// A preserved memfd cannot change its size but its contents may change until the kexec: every
// number has a fixed width, so the frozen VMs' figures are written over the zeros. TSC values are
// of one host and one power-on; 0: not known.
#ifndef TOOLS_LUOD_MANIFEST_H_
#define TOOLS_LUOD_MANIFEST_H_

#include <stdint.h>

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "base/unique_fd.h"
#include "vmm/live_update/messages.h"

namespace vmm {

inline constexpr char kManifestCompatible[] = "luod,manifest-v1";

// What became of a VM under the new kernel.
enum class Outcome : uint32_t {
  kPending = 0,
  kResumed = 1,    // its vCPUs run, its session is finished
  kAbandoned = 2,  // given up by the operator
};

struct ManifestVm {
  std::string name;
  std::string session;
  std::vector<std::string> resume_argv;
  uint32_t vcpus = 0;
  uint64_t memory_bytes = 0;
  uint64_t prepare_ns = 0;
  uint64_t freeze_ns = 0;
  uint64_t state_bytes = 0;
  uint64_t pause_tsc = 0;
  uint64_t run_tsc = 0;
  Outcome outcome = Outcome::kPending;
};

struct Manifest {
  uint64_t generation = 0;  // one more with each update
  std::string old_kernel;
  uint64_t tsc_khz = 0;
  // When each phase began; the last two under the new kernel.
  uint64_t check_tsc = 0;
  uint64_t prepare_tsc = 0;
  uint64_t freeze_tsc = 0;
  uint64_t kexec_tsc = 0;
  uint64_t luod_tsc = 0;       // luod's start
  uint64_t retrieved_tsc = 0;  // every session retrieved and its vmm started
  std::vector<ManifestVm> vms;

  // Some VM is not dealt with yet.
  bool pending() const;
  ManifestVm* Find(absl::string_view name);
};

absl::StatusOr<UniqueFd> WriteManifest(const Manifest& manifest);
// kInternal when the new bytes would not be as many as the old.
absl::Status RewriteManifest(int memfd, const Manifest& manifest);
// From a memfd or file of anyone's. kInvalidArgument: damaged; kUnimplemented: of another version.
absl::StatusOr<Manifest> ReadManifest(int fd);

// luod's own copy on disk, mode 0600, replaced as a whole or not at all.
absl::Status SaveManifest(const std::string& path, const Manifest& manifest);
// The bytes of one that cannot be read (`fd` -1: not even those are to be had), unless there is a
// file already: for a luod that can read them, and lest the next one takes it that there is none.
absl::Status SaveUnreadableManifest(const std::string& path, int fd);
// kNotFound when there is none.
absl::StatusOr<Manifest> LoadManifest(const std::string& path);

// How long the phases took, as `luoctl status` shows it. Leaves `phase`, `kernel` and `pid` alone.
HostStatus ReportOf(const Manifest& manifest);
// The VM's part.
VmStatus ReportOf(const ManifestVm& vm, uint64_t tsc_khz);

}  // namespace vmm

#endif  // TOOLS_LUOD_MANIFEST_H_
