// HostedMachine: a machine that runs a kernel with LUO, all of it in this process: physical memory
// made of memfds, the handovers in and out, LiveUpdate, and the handlers of files.
//
//   ASSIGN_OR_RETURN(std::unique_ptr<HostedMachine> machine, HostedMachine::PowerOn({}));
//   ...sessions on machine->live_update()...
//   RETURN_IF_ERROR(machine->live_update()->Reboot());   // an error: nothing happened
//   ...every Session is destroyed...
//   RETURN_IF_ERROR(machine->Kexec());
//   ...machine->live_update() is the next kernel's...
//
// What Kexec() keeps are files, which stand for pages, and four numbers, which a kernel tells the
// next one (abi::KhoData). All else is forgotten and found again by reading memory: of the arena's
// pages those that nobody preserved are punched out, and so is a file of which nothing is
// preserved.
//
// Not synchronised.
#ifndef LUO_KERNEL_HOSTED_MACHINE_H_
#define LUO_KERNEL_HOSTED_MACHINE_H_

#include <stdint.h>

#include <functional>
#include <memory>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/kho/arena.h"
#include "luo_kernel/kho/extent_memory.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/luo/live_update.h"

namespace luo {

class HostedMachine {
 public:
  struct Kernel {
    LiveUpdate& live_update;
    ExtentMemory* memory;
    OutgoingHandover* outgoing;
    IncomingHandover* incoming;  // null after PowerOn()
  };
  struct Options {
    // Bytes for metadata: what LUO and KHO write themselves. Taken as it is written.
    uint64_t metadata = uint64_t{256} << 20;
    // Called at every boot; the handler of memfds is there already.
    std::function<absl::Status(const Kernel&)> register_handlers;
  };

  static absl::StatusOr<std::unique_ptr<HostedMachine>> PowerOn(Options options);
  HostedMachine(const HostedMachine&) = delete;
  HostedMachine& operator=(const HostedMachine&) = delete;

  // After a LiveUpdate::Reboot() that succeeded, when no Session is left (kFailedPrecondition
  // otherwise). An error is what makes Linux panic: the next kernel cannot read what was left.
  absl::Status Kexec();

  const std::shared_ptr<LiveUpdate>& live_update() const { return booted_->live_update; }
  // Kexecs since PowerOn().
  uint64_t generation() const { return generation_; }

  // For onlookers: what a kexec right now would hand over, and the memory that it lies in.
  const abi::KhoData& handover() const { return booted_->outgoing->data(); }
  std::vector<Extent> extents() const { return booted_->memory.extents(); }
  // Bytes of the metadata that are not holes.
  absl::StatusOr<uint64_t> metadata_in_use() const;

 private:
  // What a booted kernel has; each uses those before it.
  struct Booted {
    ExtentMemory memory;
    std::optional<IncomingHandover> incoming;
    std::optional<Arena> arena;
    std::optional<OutgoingHandover> outgoing;
    std::shared_ptr<LiveUpdate> live_update;
  };

  explicit HostedMachine(Options options) : options_(std::move(options)) {}

  absl::Status Boot(std::unique_ptr<Booted> kernel, const abi::KhoData* data);
  PhysicalRange arena_range() const;

  const Options options_;
  std::unique_ptr<Booted> booted_;
  uint64_t generation_ = 0;
};

}  // namespace luo

#endif  // LUO_KERNEL_HOSTED_MACHINE_H_
