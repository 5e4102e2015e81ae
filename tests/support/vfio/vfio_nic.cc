// Receives frame_source's frames by a NIC that this program drives, over any number of kexecs.
//
//   vfio_nic MODEL UPDATES [HOW [FILE]]
//
// MODEL is e1000e or igb. Run it after power-on and after each kexec, with the generation's number
// in $GENERATION (and how many frames are sent a second in $FRAMES_PER_SECOND, if not 1000): it
// receives for a while, preserves the NIC and its ring, and replaces the kernel, until there were
// UPDATES of them; then it exits with 0. It exits with 1, and one line of why, as soon as one of
// these does not hold:
//   - no frame that was sent is missing, from one second after the start to the end;
//   - frames landed in memory while there was no kernel to run this program, at least half of those
//     that were sent then;
//   - reception goes on at every step between the retrieval and the finish, without a reset;
//   - no byte outside the frames was written: behind each in its buffer, and around the memory that
//   is
//     mapped for the NIC;
//   - interrupts arrive, before and after;
//   - an edu device, where there is one, shares the NIC's page table, and the copy that it begins
//   before
//     the kexec ends in it, with its interrupt;
//   - INTx stays off until it is armed;
//   - to attach the NIC by its address space, which is empty for a moment, is refused; with
//     PRETEND=no-memory in the environment it fails for want of memory;
//   - the next kernels have no less memory than the first.
//
// HOW:
//   start     as after power-on, whatever the generation; the default in generation 0
//   refuse    the same, but first with another NIC, an igb, that cannot go, with a next kernel that
//             the NIC cannot go to, and with more tables than vtd_liveupdate.max_tables: reboot()
//             must fail, and reception go on, and edu's interrupts
//   map FILE  the same, while a thread maps and unmaps without end, and FILE, which takes seconds
//             to read, is mapped: to preserve the NIC and to reboot must work, or fail before that
//             is mapped, and reception go on
//   continue  as after a kexec; the default in later generations
//   die       retrieves the NIC, and dies before it is bound to an iommufd
//   die-bound retrieves and binds it, and dies before it is attached
//   finish    finishes the session without retrieving anything
//   ignore    replaces the kernel and touches nothing
// and to see what all this guards against, on any kernel:
//   leave     as start, but preserves the memory only
//   stopped   expects that reception ended with the kexec
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "devices/vfio/pci_sysfs.h"
#include "devices/vfio/vfio_device.h"
#include "luo_kernel/client/kernel_live_update.h"
#include "tests/support/vfio/device_setup.h"
#include "tests/support/vfio/dma_arena.h"
#include "tests/support/vfio/edu.h"
#include "tests/support/vfio/mapper.h"
#include "tests/support/vfio/nic.h"
#include "tests/support/vfio/reception.h"
#include "tests/support/vfio/share.h"
#include "tools/luod/kexec.h"

namespace vmm {
namespace {

constexpr char kSession[] = "vfio-nic";
constexpr uint64_t kArenaToken = 1;
constexpr uint64_t kStateToken = 2;
constexpr uint64_t kNicToken = 0x100;
constexpr uint64_t kNsPerMs = 1'000'000;
// A bare kexec costs 12.
constexpr uint64_t kManagedKbSlack = 32;
constexpr char kMaxTables[] = "/sys/module/vtd_liveupdate/parameters/max_tables";
constexpr uint64_t kEduToken = 0x101;
constexpr uint64_t kEduOffset = kNicArenaBytes;
constexpr uint64_t kArenaBytes = kNicArenaBytes + kEduArenaBytes;

// The kernel's MemTotal: what is preserved and was not retrieved or freed is not in it, to the
// page, and it does not hang on what the host does.
absl::StatusOr<uint64_t> ManagedKb() {
  std::ifstream file("/proc/meminfo");
  std::string name, unit;
  uint64_t kb;
  while (file >> name >> kb >> unit) {
    if (name == "MemTotal:") return kb;
  }
  return absl::NotFoundError("/proc/meminfo names no MemTotal");
}

// Consumes what is there and what comes within `ms`, sleeping on the interrupt in between.
absl::Status ReceiveFor(uint64_t ms, Nic& nic, int event_fd, Sequence& sequence) {
  const uint64_t end = NowNs() + ms * kNsPerMs;
  uint64_t interrupts = 0;
  const uint64_t before = sequence.received();
  do {
    RETURN_IF_ERROR(nic.ArmInterrupt());
    while (true) {
      ASSIGN_OR_RETURN(const std::optional<Frame> frame, nic.Receive());
      if (!frame.has_value()) break;
      RETURN_IF_ERROR(sequence.Add(*frame));
    }
    if (WaitForEvent(event_fd, 200)) ++interrupts;
  } while (NowNs() < end);
  const uint64_t frames = sequence.received() - before;
  printf("vfio_nic: %lu frames and %lu interrupts in %lu ms, last frame %lu, never sent %lu\n",
         frames, interrupts, ms, sequence.number(), sequence.skipped());
  if (frames == 0) return absl::DataLossError("no frame arrives");
  if (interrupts == 0) return absl::DataLossError("no interrupt arrives");
  return absl::OkStatus();
}

// `what` has happened to the NIC; it must go on writing frames. Looks at memory only.
absl::Status ExpectFramesAfter(const char* what, const Nic& nic) {
  const uint32_t before = nic.Waiting();
  for (int i = 0; i < 100; ++i) {
    usleep(20'000);
    const uint32_t now = nic.Waiting();
    if (now >= before + 20) {
      printf("vfio_nic: after %s: %u frames in the ring, %u more %d ms later\n", what, before,
             now - before, (i + 1) * 20);
      return absl::OkStatus();
    }
  }
  return absl::DataLossError(absl::StrCat("reception stopped after ", what, ": ", before,
                                          " frames in the ring, and 2 s later ", nic.Waiting()));
}

// For the look from outside: see frame_source.
absl::Status TellPlaces(PciAddress address, const Nic& nic, const DmaArena& arena) {
  ASSIGN_OR_RETURN(const PciResource bar, PciSysfs().Bar(address, 0));
  ASSIGN_OR_RETURN(const std::vector<uint64_t> pages, arena.PhysicalPages(0, arena.size()));
  std::string text = absl::StrFormat("head %x\ndescriptors %x\ndone %x\nbuffers %x\nbuffer %x\n",
                                     bar.start + nic.head_register(), kDescriptors, nic.done_byte(),
                                     kBuffersOffset, kBufferBytes);
  for (const uint64_t page : pages) absl::StrAppendFormat(&text, "page %x\n", page);
  return WriteShare("/share/vfio.places", text);
}

absl::StatusOr<MappedRegion> MapRegisters(const VfioDevice& device) {
  ASSIGN_OR_RETURN(const VfioRegion bar, device.Region(0));
  return bar.Map(0, bar.size());
}

// As many as frame_source was told to send.
uint64_t FramesPerSecond() {
  const char* const text = getenv("FRAMES_PER_SECOND");
  uint64_t rate;
  return text != nullptr && absl::SimpleAtoi(text, &rate) ? rate : 1000;
}

// An attach that fails before the switch leaves the device as it is: for want of memory too, where
// that is pretended.
int RefusalOfAddressSpace() {
  const char* const text = getenv("PRETEND");
  return text != nullptr && std::string(text) == "no-memory" ? ENOMEM : ENODATA;
}

absl::StatusOr<PciAddress> FindNic(NicModel model) {
  return FindFunction(model == NicModel::kE1000e ? kE1000eId : kIgbId);
}

// The kind by which edu's interrupts come: one is a level, which stays, and one an edge, which does
// not.
InterruptKind EduInterrupts(NicModel beside) {
  return beside == NicModel::kE1000e ? InterruptKind::kIntx : InterruptKind::kMsi;
}

// All that receives.
struct Reception {
  int generation;
  const DmaArena& arena;
  DrivenDevice& driven;
  Nic& nic;
  int event_fd;
  Sequence sequence;
  std::optional<Edu> edu;
};

// Nothing happens, and reception goes on.
absl::Status ExpectRefusal(Reception& reception, int error) {
  const absl::Status status = Reboot(reception.generation);
  printf("vfio_nic: reboot: %s\n", NamedError(status).c_str());
  if (StatusErrno(status) != error) return absl::InternalError("the kernel did not refuse");
  return ReceiveFor(500, reception.nic, reception.event_fd, reception.sequence);
}

// A device that is frozen last cannot be: the NIC and edu, which are frozen by then, go on as
// before, and the interrupt that edu raises meanwhile arrives.
absl::Status ExpectUndoing(luo::LiveUpdateClient& client, Reception& reception) {
  if (!reception.edu.has_value()) return absl::InternalError("the machine has no edu");
  ASSIGN_OR_RETURN(const PciAddress address, FindFunction(kIgbId));
  ASSIGN_OR_RETURN(VfioDevice last, OpenBeside(address, reception.driven));
  ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client.CreateSession("vfio-nic-refused"));
  RETURN_IF_ERROR(last.Preserve(session, kNicToken));
  RETURN_IF_ERROR(LoadNextKernel());
  RETURN_IF_ERROR(last.Detach());
  RETURN_IF_ERROR(reception.edu->StartCopy());
  RETURN_IF_ERROR(ExpectRefusal(reception, ENOTCONN));
  RETURN_IF_ERROR(reception.edu->ExpectCopy("of a kexec that was refused"));
  RETURN_IF_ERROR(reception.edu->StartCopy());
  return reception.edu->ExpectCopy("after it");
}

absl::Status ExpectRefusals(luo::LiveUpdateClient& client, Reception& reception) {
  RETURN_IF_ERROR(ExpectUndoing(client, reception));
  // A next kernel that would run the IOMMU in another mode.
  RETURN_IF_ERROR(LoadNextKernel("iommu=strict"));
  RETURN_IF_ERROR(ExpectRefusal(reception, EPROTO));
  RETURN_IF_ERROR(LoadNextKernel());
  RETURN_IF_ERROR(reception.arena.MapScattered(reception.driven.ioas, kTooManyTables));
  RETURN_IF_ERROR(ExpectRefusal(reception, EFBIG));
  // The tables stay when nothing is mapped by them.
  RETURN_IF_ERROR(reception.arena.UnmapScattered(reception.driven.ioas, kTooManyTables));
  std::ofstream(kMaxTables) << kTooManyTables * 2;
  return absl::OkStatus();
}

// Makes `attempt` while a mapping is under way that takes seconds: it fails, and sooner than the
// mapping ends.
absl::Status ExpectBusy(const char* what, Reception& reception, const std::string& slow_file,
                        int part, const std::function<absl::Status()>& attempt) {
  SlowMapping mapping(reception.driven.ioas, slow_file, part);
  RETURN_IF_ERROR(mapping.Begin());
  const uint64_t begin = NowNs();
  const absl::Status status = attempt();
  const bool sooner = !mapping.done();
  const uint64_t end = NowNs();
  RETURN_IF_ERROR(mapping.End());
  printf("vfio_nic: %s, while something is mapped for %lu ms more: %s after %lu ms\n", what,
         (NowNs() - end) / kNsPerMs, NamedError(status).c_str(), (end - begin) / kNsPerMs);
  if (StatusErrno(status) != EBUSY || !sooner) {
    return absl::InternalError("it was to fail before that was mapped, with EBUSY");
  }
  return ReceiveFor(500, reception.nic, reception.event_fd, reception.sequence);
}

// Makes `attempt` again and again while it finds the page table changing.
absl::Status UntilNotBusy(const char* what, const Mapper& mapper,
                          const std::function<absl::Status()>& attempt) {
  for (int i = 1; i <= 10; ++i) {
    const uint64_t begin = NowNs();
    const absl::Status status = attempt();
    const uint64_t ns = NowNs() - begin;
    printf("vfio_nic: %s, while a thread maps and unmaps: %s after %lu us\n", what,
           status.ok() ? "done" : NamedError(status).c_str(), ns / 1000);
    if (StatusErrno(status) != EBUSY) return status;
    RETURN_IF_ERROR(mapper.Rounds().status());
  }
  return absl::InternalError("the thread keeps it from ever happening");
}

// Preserves all of it and replaces the kernel.
absl::Status Update(NicModel model, Reception& reception, const StateMemfd& memfd,
                    uint64_t managed_kb, const std::string& how, const std::string& slow_file) {
  ASSIGN_OR_RETURN(auto client, luo::KernelLiveUpdate::Open());
  ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client->CreateSession(kSession));
  Nic& nic = reception.nic;
  std::optional<Edu>& edu = reception.edu;
  RETURN_IF_ERROR(session.PreserveFd(reception.arena.memfd(), kArenaToken));
  RETURN_IF_ERROR(session.PreserveFd(memfd.fd(), kStateToken));
  const auto preserve = [&] { return reception.driven.device.Preserve(session, kNicToken); };
  std::optional<Mapper> mapper;
  uint64_t rounds = 0;  // of the mapper, when the NIC was preserved
  if (how == "map") {
    mapper.emplace(reception.driven.ioas, reception.arena);
    RETURN_IF_ERROR(ExpectBusy("preserve", reception, slow_file, 0, preserve));
    RETURN_IF_ERROR(UntilNotBusy("preserve", *mapper, preserve));
    ASSIGN_OR_RETURN(rounds, mapper->Rounds());
  } else if (how != "leave") {
    const uint64_t begin = NowNs();
    RETURN_IF_ERROR(preserve());
    printf("vfio_nic: preserved in %lu us\n", (NowNs() - begin) / 1000);
    if (edu.has_value()) RETURN_IF_ERROR(edu->device().Preserve(session, kEduToken));
  }
  if (how == "refuse") RETURN_IF_ERROR(ExpectRefusals(*client, reception));
  RETURN_IF_ERROR(LoadNextKernel());
  const auto reboot = [&] { return Reboot(reception.generation); };
  if (how == "map") RETURN_IF_ERROR(ExpectBusy("reboot", reception, slow_file, 1, reboot));
  RETURN_IF_ERROR(ExpectFramesAfter("the preservation", nic));
  RETURN_IF_ERROR(ReceiveFor(500, nic, reception.event_fd, reception.sequence));
  // Only now do its pages lie where they will stay.
  ASSIGN_OR_RETURN(const PciAddress address, FindNic(model));
  RETURN_IF_ERROR(TellPlaces(address, nic, reception.arena));
  RETURN_IF_ERROR(memfd.Write({.consumed = nic.consumed(),
                               .last_number = reception.sequence.number(),
                               .last_skipped = reception.sequence.skipped(),
                               .managed_kb = managed_kb,
                               .has_edu = edu.has_value()}));
  printf("vfio_nic: frame %lu was the last one before kexec %d\n", reception.sequence.number(),
         reception.generation + 1);
  fflush(stdout);
  if (edu.has_value()) RETURN_IF_ERROR(edu->StartCopy());
  if (!mapper.has_value()) return reboot();
  ASSIGN_OR_RETURN(const uint64_t rounds_now, mapper->Rounds());
  printf("vfio_nic: the thread mapped %lu times, %lu of them before the preservation\n", rounds_now,
         rounds);
  fflush(stdout);
  if (rounds_now == rounds) return absl::InternalError("the thread maps no more");
  return UntilNotBusy("reboot", *mapper, reboot);
}

// The edu device, if the machine has one, on the NIC's page table.
absl::StatusOr<std::optional<Edu>> StartEdu(NicModel model, const DrivenDevice& driven,
                                            const DmaArena& arena) {
  ASSIGN_OR_RETURN(const std::vector<PciAddress> found, PciSysfs().Find(kEduId));
  if (found.empty()) return std::nullopt;
  RETURN_IF_ERROR(PciSysfs().BindToVfioPci(found[0]));
  ASSIGN_OR_RETURN(VfioDevice device, VfioDevice::Open(found[0]));
  ASSIGN_OR_RETURN(Edu edu,
                   Edu::Attach(std::move(device), driven.iommu, driven.table, &arena, kEduOffset));
  RETURN_IF_ERROR(edu.Load());
  RETURN_IF_ERROR(edu.Arm(EduInterrupts(model)));
  RETURN_IF_ERROR(edu.StartCopy());
  RETURN_IF_ERROR(edu.ExpectCopy("at the start"));
  return edu;
}

absl::Status Start(NicModel model, int generation, int updates, const std::string& how,
                   const std::string& slow_file) {
  ASSIGN_OR_RETURN(const PciAddress address, FindNic(model));
  RETURN_IF_ERROR(PciSysfs().BindToVfioPci(address));
  ASSIGN_OR_RETURN(VfioDevice opened, VfioDevice::Open(address));
  ASSIGN_OR_RETURN(const DmaArena arena, DmaArena::Create(kArenaBytes));
  ASSIGN_OR_RETURN(DrivenDevice driven, Drive(std::move(opened), arena));
  ASSIGN_OR_RETURN(PciConfigSpace config, driven.device.Config());
  RETURN_IF_ERROR(config.SetCommandBits(kPciCommandMemory | kPciCommandBusMaster));
  ASSIGN_OR_RETURN(MappedRegion registers, MapRegisters(driven.device));
  ASSIGN_OR_RETURN(VfioInterrupts interrupts, driven.device.Interrupts(InterruptKind::kMsix));
  const UniqueFd event(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  RETURN_IF_ERROR(interrupts.SetEventFds(0, {event.get()}));
  Nic nic(model, std::move(registers), &arena, 0);
  ASSIGN_OR_RETURN(std::optional<Edu> edu, StartEdu(model, driven, arena));
  RETURN_IF_ERROR(nic.Start());
  printf("vfio_nic: %s started\n", address.ToString().c_str());
  Sequence starting;
  RETURN_IF_ERROR(ReceiveFor(1000, nic, event.get(), starting));
  // From here on none may be missing.
  Reception reception = {.generation = generation,
                         .arena = arena,
                         .driven = driven,
                         .nic = nic,
                         .event_fd = event.get(),
                         .sequence = Sequence(starting.number(), starting.skipped()),
                         .edu = std::move(edu)};
  RETURN_IF_ERROR(ReceiveFor(1000, nic, event.get(), reception.sequence));
  RETURN_IF_ERROR(arena.CheckGuards());
  printf("vfio_nic: ok\n");
  if (generation >= updates) return absl::OkStatus();
  ASSIGN_OR_RETURN(const StateMemfd memfd, StateMemfd::Create());
  ASSIGN_OR_RETURN(const uint64_t managed_kb, ManagedKb());
  return Update(model, reception, memfd, managed_kb, how, slow_file);
}

// What lies in the ring before anything was done to the NIC.
absl::Status ExpectFramesOfTheKexec(int generation, const Nic& nic, uint64_t now, bool stopped) {
  ASSIGN_OR_RETURN(const uint64_t began,
                   ShareTime(absl::StrCat("/share/vfio.began.", generation - 1)));
  uint64_t within = 0;
  const uint32_t waiting = nic.Waiting();
  for (uint32_t i = 0; i < waiting; ++i) {
    const Frame frame = nic.Peek(i);
    if (IsNumbered(frame) && frame.sent_ns > began && frame.sent_ns < now) ++within;
  }
  const uint64_t ms = (now - began) / kNsPerMs;
  printf("vfio_nic: kexec %d took %lu ms, frames sent and landed in it: %lu (in the ring: %u)\n",
         generation, ms, within, waiting);
  if ((within < ms * FramesPerSecond() / 1000 / 2) == stopped) return absl::OkStatus();
  if (stopped) return absl::InternalError("reception did not end with the kexec");
  return absl::DataLossError("fewer than half of the frames of the kexec landed in memory");
}

// The device of a page table, or of none if the program is to end before.
absl::StatusOr<DrivenDevice> TakeOver(luo::LiveUpdateSession& session, const DmaArena& arena,
                                      const Nic& untouched, const std::string& how) {
  const uint64_t begin = NowNs();
  ASSIGN_OR_RETURN(VfioDevice device, VfioDevice::Retrieve(session, kNicToken));
  const uint64_t retrieved = NowNs();
  RETURN_IF_ERROR(ExpectFramesAfter("the retrieval", untouched));
  ASSIGN_OR_RETURN(IommuFd iommu, IommuFd::Open());
  ASSIGN_OR_RETURN(Ioas ioas, iommu.AllocateIoas());
  const uint64_t opened = NowNs();
  RETURN_IF_ERROR(arena.MapInto(ioas));
  const uint64_t mapped = NowNs();
  if (how != "die") RETURN_IF_ERROR(device.Bind(iommu));
  if (how == "die" || how == "die-bound") {
    RETURN_IF_ERROR(ExpectFramesAfter("the binding, if any", untouched));
    printf("vfio_nic: dies\n");
    fflush(stdout);
    _exit(0);
  }
  {
    ASSIGN_OR_RETURN(const PciConfigSpace config, device.Config());
    ASSIGN_OR_RETURN(const uint16_t command, config.Command());
    if ((command & kPciCommandIntxDisable) == 0) {
      return absl::InternalError("INTx is on before there is a handler");
    }
  }
  const absl::Status by_address_space = device.Attach(ioas);
  if (StatusErrno(by_address_space) != RefusalOfAddressSpace()) {
    return absl::InternalError("attaching by the address space: " + NamedError(by_address_space));
  }
  RETURN_IF_ERROR(ExpectFramesAfter("an attaching that was refused", untouched));
  const uint64_t refused = NowNs();
  ASSIGN_OR_RETURN(Hwpt table, iommu.AllocateHwpt(device.id(), ioas));
  const uint64_t made = NowNs();
  RETURN_IF_ERROR(device.Attach(table));
  printf("vfio_nic: retrieved in %lu us, mapped in %lu, page table made in %lu, attached in %lu\n",
         (retrieved - begin) / 1000, (mapped - opened) / 1000, (made - refused) / 1000,
         (NowNs() - made) / 1000);
  RETURN_IF_ERROR(ExpectFramesAfter("the attaching", untouched));
  return DrivenDevice{std::move(device), std::move(iommu), std::move(ioas), std::move(table)};
}

absl::StatusOr<std::optional<Edu>> TakeOverEdu(luo::LiveUpdateSession& session, NicModel model,
                                               const DrivenDevice& driven, const DmaArena& arena) {
  ASSIGN_OR_RETURN(VfioDevice device, VfioDevice::Retrieve(session, kEduToken));
  ASSIGN_OR_RETURN(Edu edu,
                   Edu::Attach(std::move(device), driven.iommu, driven.table, &arena, kEduOffset));
  RETURN_IF_ERROR(edu.Arm(EduInterrupts(model)));
  RETURN_IF_ERROR(edu.ExpectCopy("of the kexec"));
  RETURN_IF_ERROR(edu.StartCopy());
  RETURN_IF_ERROR(edu.ExpectCopy("after the kexec"));
  printf("vfio_nic: edu ended its copy in the kexec, and goes on\n");
  return edu;
}

absl::Status Continue(NicModel model, int generation, int updates, const std::string& how) {
  ASSIGN_OR_RETURN(const uint64_t now, OutsideNow());
  ASSIGN_OR_RETURN(auto client, luo::KernelLiveUpdate::Open());
  ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client->RetrieveSession(kSession));
  if (how == "finish") return session.Finish();
  ASSIGN_OR_RETURN(UniqueFd arena_fd, session.RetrieveFd(kArenaToken));
  ASSIGN_OR_RETURN(const DmaArena arena, DmaArena::FromFd(std::move(arena_fd)));
  ASSIGN_OR_RETURN(UniqueFd state_fd, session.RetrieveFd(kStateToken));
  const StateMemfd memfd(std::move(state_fd));
  ASSIGN_OR_RETURN(const ReceptionState state, memfd.Read());
  const Nic untouched(model, MappedRegion(nullptr, nullptr, 0), &arena, state.consumed);
  RETURN_IF_ERROR(ExpectFramesOfTheKexec(generation, untouched, now, how == "stopped"));
  if (how == "stopped") return absl::OkStatus();
  RETURN_IF_ERROR(ExpectFramesAfter("the boot", untouched));

  ASSIGN_OR_RETURN(DrivenDevice driven, TakeOver(session, arena, untouched, how));
  ASSIGN_OR_RETURN(MappedRegion registers, MapRegisters(driven.device));
  Nic nic(model, std::move(registers), &arena, state.consumed);
  const UniqueFd event(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC));
  ASSIGN_OR_RETURN(VfioInterrupts interrupts, driven.device.Interrupts(InterruptKind::kMsix));
  RETURN_IF_ERROR(interrupts.SetEventFds(0, {event.get()}));
  // It was armed before the kexec, and frames came: the interrupt may not be lost.
  if (!WaitForEvent(event.get(), 5000)) {
    return absl::DataLossError("the interrupt of the kexec does not arrive");
  }
  Reception reception = {.generation = generation,
                         .arena = arena,
                         .driven = driven,
                         .nic = nic,
                         .event_fd = event.get(),
                         .sequence = Sequence(state.last_number, state.last_skipped)};
  if (state.has_edu != 0) {
    ASSIGN_OR_RETURN(reception.edu, TakeOverEdu(session, model, driven, arena));
  }
  RETURN_IF_ERROR(ReceiveFor(500, nic, event.get(), reception.sequence));
  RETURN_IF_ERROR(session.Finish());
  RETURN_IF_ERROR(ReceiveFor(1000, nic, event.get(), reception.sequence));
  RETURN_IF_ERROR(arena.CheckGuards());
  printf("vfio_nic: ok after kexec %d: no frame lost of %lu\n", generation,
         reception.sequence.received());
  ASSIGN_OR_RETURN(const uint64_t managed_kb, ManagedKb());
  printf("vfio_nic: the kernel has %lu KiB, and had at the start %lu\n", managed_kb,
         state.managed_kb);
  if (managed_kb + kManagedKbSlack < state.managed_kb) {
    return absl::ResourceExhaustedError("pages that were preserved are not free again");
  }
  if (generation >= updates) return absl::OkStatus();
  {
    // The kernel lets a name be used once at a time.
    luo::LiveUpdateSession done = std::move(session);
  }
  client.reset();
  return Update(model, reception, memfd, state.managed_kb, how, "");
}

absl::Status Run(int argc, char** argv) {
  const std::string name = argv[1];
  int updates;
  if ((name != "e1000e" && name != "igb") || !absl::SimpleAtoi(argv[2], &updates)) {
    return absl::InvalidArgumentError("usage: vfio_nic e1000e|igb UPDATES [HOW [FILE]]");
  }
  const NicModel model = name == "e1000e" ? NicModel::kE1000e : NicModel::kIgb;
  const char* const text = getenv("GENERATION");
  const int generation = text == nullptr ? 0 : atoi(text);
  const std::string how = argc > 3 ? argv[3] : generation == 0 ? "start" : "continue";
  if (how == "start" || how == "refuse" || how == "map" || how == "leave") {
    return Start(model, generation, updates, how, argc > 4 ? argv[4] : "");
  }
  if (how == "ignore") {
    RETURN_IF_ERROR(LoadNextKernel());
    // Nothing that frame_source should judge.
    return SystemKexec().Execute();
  }
  return Continue(model, generation, updates, how);
}

}  // namespace
}  // namespace vmm

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc < 3) {
    fprintf(stderr, "usage: vfio_nic e1000e|igb UPDATES [HOW [FILE]]\n");
    return 2;
  }
  const absl::Status status = vmm::Run(argc, argv);
  if (status.ok()) return 0;
  fprintf(stderr, "vfio_nic: FAIL: %s\n", std::string(status.message()).c_str());
  return 1;
}
