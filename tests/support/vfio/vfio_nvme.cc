// Reads an NVMe disk by a driver of its own, with commands in flight over any number of kexecs.
//
//   vfio_nvme UPDATES
//
// The last NVMe controller of the machine is it; its disk is frame_source's {disk1}, and so slow
// that commands take seconds (-drive throttling.iops-total=...). Run it after power-on and after
// each kexec, as vfio_nic. Before each kexec it submits kInFlight reads and leaves at once.
// Afterwards each must have completed exactly once, with the right data: some while there was no
// kernel to see it, and the interrupt of those arrives too. Exits with 1, and one line of why,
// where that does not hold.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <unistd.h>

#include <optional>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "devices/vfio/pci_sysfs.h"
#include "devices/vfio/vfio_device.h"
#include "luo_kernel/client/kernel_live_update.h"
#include "tests/support/vfio/device_setup.h"
#include "tests/support/vfio/disk_pattern.h"
#include "tests/support/vfio/dma_arena.h"
#include "tests/support/vfio/nvme.h"
#include "tests/support/vfio/share.h"

namespace vmm {
namespace {

constexpr char kSession[] = "vfio-nvme";
constexpr uint64_t kArenaToken = 1;
constexpr uint64_t kStateToken = 2;
constexpr uint64_t kDeviceToken = 0x100;
constexpr uint32_t kInFlight = 48;
constexpr int kDisk = 1;

// Which block the n-th command of this program reads: all over the disk.
uint64_t BlockOf(uint32_t n) { return uint64_t{n} * 1237 % (kDiskBytes / kNvmeBlock); }

absl::Status CheckBlock(const uint8_t* bytes, uint64_t block) {
  for (uint64_t i = 0; i < kNvmeBlock; i += 8) {
    uint64_t word;
    memcpy(&word, bytes + i, sizeof(word));
    if (word != DiskWord(kDisk, block * kNvmeBlock + i)) {
      return absl::DataLossError(absl::StrFormat("block %d is wrong at byte %d", block, i));
    }
  }
  return absl::OkStatus();
}

struct Vectors {
  VfioInterrupts interrupts;
  UniqueFd admin;
  UniqueFd io;
};

absl::StatusOr<Vectors> Arm(const VfioDevice& device) {
  ASSIGN_OR_RETURN(VfioInterrupts interrupts, device.Interrupts(InterruptKind::kMsix));
  UniqueFd admin(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  UniqueFd io(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  RETURN_IF_ERROR(interrupts.SetEventFds(0, {admin.get(), io.get()}));
  return Vectors{std::move(interrupts), std::move(admin), std::move(io)};
}

// Takes completions, woken by interrupts only, until nothing is in flight. Every command that was
// submitted as the `first`-th or later must end once, with its data.
absl::Status ReapAll(Nvme& nvme, uint32_t first, int event_fd) {
  std::set<uint32_t> open;
  for (uint32_t n = first; n < nvme.state().submitted; ++n) open.insert(n % kNvmeEntries);
  while (nvme.in_flight() > 0) {
    ASSIGN_OR_RETURN(const std::optional<uint32_t> slot, nvme.Reap());
    if (!slot.has_value()) {
      if (!WaitForEvent(event_fd, 20'000)) {
        return absl::DataLossError(
            absl::StrFormat("%d commands are open, and no interrupt arrives", nvme.in_flight()));
      }
      continue;
    }
    if (open.erase(*slot) != 1) {
      return absl::DataLossError(absl::StrFormat("command %d ends twice", *slot));
    }
    uint32_t n = first;
    while (n % kNvmeEntries != *slot) ++n;
    RETURN_IF_ERROR(CheckBlock(nvme.Buffer(*slot), BlockOf(n)));
  }
  if (!open.empty()) return absl::DataLossError("a command never ended");
  return absl::OkStatus();
}

absl::Status ReadSome(Nvme& nvme, uint32_t count, int event_fd) {
  const uint32_t first = nvme.state().submitted;
  for (uint32_t i = 0; i < count; ++i) RETURN_IF_ERROR(nvme.SubmitRead(BlockOf(first + i)));
  return ReapAll(nvme, first, event_fd);
}

absl::StatusOr<MappedRegion> MapRegisters(const VfioDevice& device) {
  ASSIGN_OR_RETURN(const VfioRegion bar, device.Region(0));
  // The doorbells of two queues are within the first two pages; the MSI-X table lies behind.
  return bar.Map(0, 0x2000);
}

absl::Status Update(int generation, const VfioDevice& device, const DmaArena& arena,
                    const UniqueFd& state_fd, Nvme& nvme) {
  ASSIGN_OR_RETURN(auto client, luo::KernelLiveUpdate::Open());
  ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client->CreateSession(kSession));
  RETURN_IF_ERROR(session.PreserveFd(arena.memfd(), kArenaToken));
  RETURN_IF_ERROR(session.PreserveFd(state_fd.get(), kStateToken));
  RETURN_IF_ERROR(device.Preserve(session, kDeviceToken));
  RETURN_IF_ERROR(LoadNextKernel());
  const uint32_t first = nvme.state().submitted;
  for (uint32_t i = 0; i < kInFlight; ++i) RETURN_IF_ERROR(nvme.SubmitRead(BlockOf(first + i)));
  const NvmeState state = nvme.state();
  if (pwrite(state_fd.get(), &state, sizeof(state), 0) != sizeof(state)) {
    return ErrnoStatus(errno, "write the state");
  }
  printf("vfio_nvme: %u commands in flight before kexec %d, %u of them done\n", nvme.in_flight(),
         generation + 1, nvme.Waiting());
  fflush(stdout);
  // Completions that the interrupt was seen for by now are none that the kexec could have lost.
  return Reboot(generation);
}

absl::Status PowerOn(int updates) {
  ASSIGN_OR_RETURN(const PciAddress address, FindFunction(kNvmeId));
  RETURN_IF_ERROR(PciSysfs().BindToVfioPci(address));
  ASSIGN_OR_RETURN(VfioDevice opened, VfioDevice::Open(address));
  ASSIGN_OR_RETURN(const DmaArena arena, DmaArena::Create(kNvmeArenaBytes));
  ASSIGN_OR_RETURN(const DrivenDevice driven, Drive(std::move(opened), arena));
  ASSIGN_OR_RETURN(PciConfigSpace config, driven.device.Config());
  RETURN_IF_ERROR(config.SetCommandBits(kPciCommandMemory | kPciCommandBusMaster));
  ASSIGN_OR_RETURN(MappedRegion registers, MapRegisters(driven.device));
  ASSIGN_OR_RETURN(const Vectors vectors, Arm(driven.device));
  Nvme nvme(std::move(registers), &arena, {});
  RETURN_IF_ERROR(nvme.Start());
  RETURN_IF_ERROR(ReadSome(nvme, 4, vectors.io.get()));
  RETURN_IF_ERROR(arena.CheckGuards());
  printf("vfio_nvme: %s reads\n", address.ToString().c_str());
  if (updates == 0) return absl::OkStatus();
  const UniqueFd state_fd(memfd_create("nvme-state", MFD_CLOEXEC));
  if (!state_fd.valid() || ftruncate(state_fd.get(), 4096) < 0) {
    return ErrnoStatus(errno, "state memfd");
  }
  return Update(0, driven.device, arena, state_fd, nvme);
}

absl::Status AfterKexec(int generation, int updates) {
  ASSIGN_OR_RETURN(auto client, luo::KernelLiveUpdate::Open());
  ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client->RetrieveSession(kSession));
  ASSIGN_OR_RETURN(UniqueFd arena_fd, session.RetrieveFd(kArenaToken));
  ASSIGN_OR_RETURN(const DmaArena arena, DmaArena::FromFd(std::move(arena_fd)));
  ASSIGN_OR_RETURN(const UniqueFd state_fd, session.RetrieveFd(kStateToken));
  NvmeState state;
  if (pread(state_fd.get(), &state, sizeof(state), 0) != sizeof(state)) {
    return ErrnoStatus(errno, "read the state");
  }
  const uint32_t during = Nvme(MappedRegion(nullptr, nullptr, 0), &arena, state).Waiting();
  printf("vfio_nvme: after kexec %d: %u of %u commands ended meanwhile\n", generation, during,
         state.submitted - state.completed);
  if (during == 0) return absl::DataLossError("no command ended during the kexec");
  ASSIGN_OR_RETURN(VfioDevice retrieved, VfioDevice::Retrieve(session, kDeviceToken));
  ASSIGN_OR_RETURN(const DrivenDevice driven, Drive(std::move(retrieved), arena));
  ASSIGN_OR_RETURN(MappedRegion registers, MapRegisters(driven.device));
  Nvme nvme(std::move(registers), &arena, state);
  const uint64_t armed = NowNs();
  ASSIGN_OR_RETURN(const Vectors vectors, Arm(driven.device));
  // The controller raised it in the old kernel or in between, and has no reason to raise it again
  // before the next command ends.
  if (!WaitForEvent(vectors.io.get(), 5000)) {
    return absl::DataLossError("the interrupt of the commands that ended does not arrive");
  }
  printf("vfio_nvme: its interrupt arrives %lu us after it was armed\n", (NowNs() - armed) / 1000);
  RETURN_IF_ERROR(ReapAll(nvme, state.completed, vectors.io.get()));
  RETURN_IF_ERROR(session.Finish());
  RETURN_IF_ERROR(ReadSome(nvme, 4, vectors.io.get()));
  RETURN_IF_ERROR(arena.CheckGuards());
  printf("vfio_nvme: ok after kexec %d: %u commands, all data right\n", generation,
         nvme.state().completed);
  if (generation >= updates) return absl::OkStatus();
  {
    // The kernel lets a name be used once at a time.
    luo::LiveUpdateSession done = std::move(session);
  }
  client.reset();
  return Update(generation, driven.device, arena, state_fd, nvme);
}

absl::Status Run(const char* updates_text) {
  int updates;
  if (!absl::SimpleAtoi(updates_text, &updates)) {
    return absl::InvalidArgumentError("UPDATES is no number");
  }
  const char* const text = getenv("GENERATION");
  const int generation = text == nullptr ? 0 : atoi(text);
  return generation == 0 ? PowerOn(updates) : AfterKexec(generation, updates);
}

}  // namespace
}  // namespace vmm

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc != 2) {
    fprintf(stderr, "usage: vfio_nvme UPDATES\n");
    return 2;
  }
  const absl::Status status = vmm::Run(argv[1]);
  if (status.ok()) return 0;
  fprintf(stderr, "vfio_nvme: FAIL: %s\n", std::string(status.message()).c_str());
  return 1;
}
