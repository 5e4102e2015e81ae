#include "luo_kernel/hosted/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

#include <utility>

#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/memfd/memfd_handler.h"

namespace luo {
namespace {

constexpr PhysicalAddress kArenaStart = ExtentMemory::kFloor;
// Where the next kernel could live before it knows what is preserved. None does here, but the
// handover has to say one.
constexpr uint64_t kScratchSize = uint64_t{1} << 20;

// Gives the pages back that the arena does not count as taken, with what was in them.
absl::Status PunchFreePages(const ExtentMemory& memory, const Arena& arena) {
  ASSIGN_OR_RETURN(const Extent extent, memory.Find(arena.range().start));
  const uint64_t pages = arena.range().size / abi::kPageSize;
  const auto page_at = [&](uint64_t page) {
    return PhysicalAddress(arena.range().start.value() + page * abi::kPageSize);
  };
  for (uint64_t page = 0; page < pages;) {
    uint64_t end = page;
    while (end < pages && arena.IsFree(page_at(end))) ++end;
    if (end > page && fallocate(extent.fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                                static_cast<off_t>(extent.offset + page * abi::kPageSize),
                                static_cast<off_t>((end - page) * abi::kPageSize)) < 0) {
      return vmm::ErrnoStatus(errno, "punch what was not preserved");
    }
    page = end + 1;
  }
  return absl::OkStatus();
}

}  // namespace

PhysicalRange HostedMachine::arena_range() const { return {kArenaStart, options_.metadata}; }

absl::StatusOr<std::unique_ptr<HostedMachine>> HostedMachine::PowerOn(Options options) {
  if (options.metadata < 4 * kScratchSize || options.metadata % abi::kPageSize != 0) {
    return absl::InvalidArgumentError("metadata: whole pages, at least 4 MiB");
  }
  std::unique_ptr<HostedMachine> machine(new HostedMachine(std::move(options)));
  ASSIGN_OR_RETURN(vmm::UniqueFd file, NewMemoryFile("luo-metadata", machine->options_.metadata));
  auto kernel = std::make_unique<Booted>();
  RETURN_IF_ERROR(kernel->memory.Add(kArenaStart, std::move(file), 0, machine->options_.metadata,
                                     ExtentUse::kMetadata));
  RETURN_IF_ERROR(machine->Boot(std::move(kernel), nullptr));
  return machine;
}

absl::Status HostedMachine::Boot(std::unique_ptr<Booted> kernel, const abi::KhoData* data) {
  ExtentMemory& memory = kernel->memory;
  if (data != nullptr) {
    ASSIGN_OR_RETURN(kernel->incoming, IncomingHandover::Open(memory, *data));
    for (const Extent& extent : memory.extents()) {
      if (extent.use == ExtentUse::kData && !kernel->incoming->preserved().FindIn(extent.range)) {
        RETURN_IF_ERROR(memory.Remove(extent.range.start).status());
      }
    }
  }
  ASSIGN_OR_RETURN(kernel->arena, Arena::Create(&memory, arena_range()));
  if (kernel->incoming) RETURN_IF_ERROR(kernel->incoming->Reserve(*kernel->arena));
  RETURN_IF_ERROR(PunchFreePages(memory, *kernel->arena));
  ASSIGN_OR_RETURN(kernel->outgoing, OutgoingHandover::Create(&memory, &*kernel->arena,
                                                              {{kArenaStart, kScratchSize}}));
  IncomingHandover* incoming = kernel->incoming ? &*kernel->incoming : nullptr;
  ASSIGN_OR_RETURN(kernel->live_update, LiveUpdate::Boot(&*kernel->outgoing, incoming));
  RETURN_IF_ERROR(kernel->live_update->RegisterFileHandler(
      std::make_shared<MemfdHandler>(&memory, &*kernel->outgoing, incoming)));
  if (options_.register_handlers) {
    RETURN_IF_ERROR(
        options_.register_handlers({*kernel->live_update, &memory, &*kernel->outgoing, incoming}));
  }
  booted_ = std::move(kernel);
  return absl::OkStatus();
}

absl::Status HostedMachine::Kexec() {
  if (!booted_->live_update->rebooting()) {
    return absl::FailedPreconditionError("a kexec without LiveUpdate::Reboot()");
  }
  if (booted_->live_update.use_count() != 1) {
    return absl::FailedPreconditionError("a kexec while sessions are open");
  }
  const abi::KhoData data = booted_->outgoing->data();
  auto next = std::make_unique<Booted>();
  for (const Extent& extent : booted_->memory.extents()) {
    vmm::UniqueFd file(fcntl(extent.fd, F_DUPFD_CLOEXEC, 0));
    if (!file.valid()) return vmm::ErrnoStatus(errno, "a file of memory");
    RETURN_IF_ERROR(next->memory.Add(extent.range.start, std::move(file), extent.offset,
                                     extent.range.size, extent.use));
  }
  booted_.reset();
  ++generation_;
  return Boot(std::move(next), &data);
}

absl::StatusOr<uint64_t> HostedMachine::metadata_in_use() const {
  ASSIGN_OR_RETURN(const Extent extent, booted_->memory.Find(kArenaStart));
  struct stat status;
  if (fstat(extent.fd, &status) < 0) return vmm::ErrnoStatus(errno, "metadata");
  return static_cast<uint64_t>(status.st_blocks) * 512;
}

}  // namespace luo
