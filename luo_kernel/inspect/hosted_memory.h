// The memory of a hosted instance (luo_kernel/hosted), to look at while it goes on.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<HostedMemory> hosted, HostedMemory::Open("/run/luo.sock"));
//   Report report = hosted->ReadReport("/run/luo.sock", std::nullopt);
//
// What the instance says is checked: extents that overlap are refused. Its files are read, never
// mapped, for the instance may shrink them at any time.
#ifndef LUO_KERNEL_INSPECT_HOSTED_MEMORY_H_
#define LUO_KERNEL_INSPECT_HOSTED_MEMORY_H_

#include <stdint.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "luo_kernel/hosted/inspect_socket.h"
#include "luo_kernel/inspect/physical_reader.h"
#include "luo_kernel/inspect/report.h"

namespace luo {

class HostedMemory final : public PhysicalReader {
 public:
  // Asks the instance that listens on `path`.
  static absl::StatusOr<std::unique_ptr<HostedMemory>> Open(const std::string& path);
  // kInvalidArgument where extents wrap or overlap.
  static absl::StatusOr<std::unique_ptr<HostedMemory>> FromMachine(InspectedMachine machine);

  // Of KHO's device tree: what a kexec right now would hand over.
  uint64_t handover_address() const { return machine_.handover.root_address; }
  // Its list of scratch regions: where, and of how many bytes.
  uint64_t scratch_address() const { return machine_.handover.scratch_address; }
  uint64_t scratch_size() const { return machine_.handover.scratch_size; }
  // Hosted kexecs so far.
  uint64_t generation() const { return machine_.generation; }

  // What a kexec right now would hand over, or what is at `address`.
  Report ReadReport(const std::string& source, std::optional<uint64_t> address) const;

  const std::vector<MemoryRange>& ranges() const override { return ranges_; }
  absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const override;

 private:
  explicit HostedMemory(InspectedMachine machine) : machine_(std::move(machine)) {}

  InspectedMachine machine_;  // extents ascending by address
  std::vector<MemoryRange> ranges_;
};

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_HOSTED_MEMORY_H_
