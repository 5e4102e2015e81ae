// Takes devices over a kexec without driving them, to see what the kernel says when they cannot go
// or cannot come back.
//
//   vfio_update leave LINE CHANGE ADDRESS...
//   vfio_update return|return-nested ADDRESS...
//   vfio_update race ADDRESS ADDRESS
//
// `leave` attaches the devices to one page table, switches their bus mastering on, preserves them,
// loads a next kernel with the command line LINE, makes CHANGE, and replaces the kernel. CHANGE is
// one of
//   detach      takes the first device from its page table
//   map         maps memory for them that takes too many tables
//   load        loads a next kernel again, in vain
//   unload      unloads it
//   kexec-load  the same, and loads another by kexec_load(2)
//   arm         arms an interrupt of the first device at the same time, which pretend=slow-irqs
//               makes a matter of seconds
//   power-down  puts the first device into D3hot by its own register, and takes it from its page
//               table; when the kernel has refused, prints the state that it is in: "D0"
//   sleep       arms INTx of the first device, and puts it into a low-power state
// or a line for sh. Where the kernel refuses, the error is printed, nothing is preserved any more,
// and the exit code is 1.
//
// `return`, in the next kernel, retrieves the same devices and attaches each that comes; prints
// "ADDRESS: attached" or "ADDRESS: " and the error; finishes the session and exits with 0.
// `return-nested` is the same, and expects before each that a nested page table is refused.
//
// `race` attaches the devices to one page table and preserves them at the same time, in sessions of
// their own, again and again; exits with 0 where each time works.
#include <errno.h>
#include <linux/kexec.h>
#include <linux/pci_regs.h>
#include <linux/vfio.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <fstream>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "devices/vfio/pci_config_space.h"
#include "devices/vfio/pci_sysfs.h"
#include "devices/vfio/vfio_device.h"
#include "devices/vfio/vfio_interrupts.h"
#include "luo_kernel/client/kernel_live_update.h"
#include "tests/support/vfio/device_setup.h"
#include "tests/support/vfio/dma_arena.h"
#include "tests/support/vfio/unusual_tables.h"
#include "tools/luod/kexec.h"

namespace vmm {
namespace {

constexpr char kSession[] = "vfio-update";
constexpr uint64_t kArenaToken = 1;
constexpr uint64_t kFirstDeviceToken = 0x100;
constexpr int kRaceRounds = 50;

absl::StatusOr<std::vector<PciAddress>> Addresses(int argc, char** argv, int first) {
  std::vector<PciAddress> addresses;
  for (int i = first; i < argc; ++i) {
    ASSIGN_OR_RETURN(const PciAddress address, PciAddress::Parse(argv[i]));
    addresses.push_back(address);
  }
  return addresses;
}

// The kernel takes the command line and then has no room for it.
absl::Status LoadInVain() {
  const absl::Status status = LoadNextKernelWith(std::string(kMaxCommandLine, 'x'));
  printf("vfio_update: load: %s\n", NamedError(status).c_str());
  if (status.ok()) return absl::InternalError("the kernel was loaded");
  return absl::OkStatus();
}

// What kexec_load(2) loads has no Kexec HandOver. Here it is nothing that could run, either.
absl::Status LoadWithoutHandover() {
  static constexpr char kPage[4096] = {};
  RETURN_IF_ERROR(SystemKexec().Unload());
  kexec_segment segment = {
      .buf = kPage,
      .bufsz = sizeof(kPage),
      .mem = reinterpret_cast<const void*>(0x100000),
      .memsz = sizeof(kPage),
  };
  if (syscall(SYS_kexec_load, 0x100000UL, 1UL, &segment, KEXEC_ARCH_DEFAULT) < 0) {
    return ErrnoStatus(errno, "kexec_load");
  }
  return absl::OkStatus();
}

// Arms an interrupt in a thread of its own, which is in the midst of it when this returns.
absl::StatusOr<std::thread> BeginToArm(const VfioDevice& device) {
  ASSIGN_OR_RETURN(VfioInterrupts interrupts, device.Interrupts(InterruptKind::kMsi));
  std::thread thread([interrupts = std::move(interrupts)]() mutable {
    const UniqueFd event(eventfd(0, EFD_CLOEXEC));
    const absl::Status status = interrupts.SetEventFds(0, {event.get()});
    printf("vfio_update: arm: %s\n", status.ok() ? "done" : NamedError(status).c_str());
  });
  usleep(500'000);
  return thread;
}

// Its INTx, armed: waking it up is more for the kernel then, which masked that. The kernel powers a
// device down a little later than it says so.
absl::StatusOr<VfioInterrupts> PutToSleep(const VfioDevice& device, PciAddress address) {
  ASSIGN_OR_RETURN(VfioInterrupts interrupts, device.Interrupts(InterruptKind::kIntx));
  const UniqueFd event(eventfd(0, EFD_CLOEXEC));
  RETURN_IF_ERROR(interrupts.SetEventFds(0, {event.get()}));
  vfio_device_feature feature = {
      .argsz = sizeof(feature),
      .flags = VFIO_DEVICE_FEATURE_SET | VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY,
  };
  if (ioctl(device.fd(), VFIO_DEVICE_FEATURE, &feature) < 0) {
    return ErrnoStatus(errno, "VFIO_DEVICE_FEATURE_LOW_POWER_ENTRY");
  }
  const std::string path =
      absl::StrCat("/sys/bus/pci/devices/", address.ToString(), "/power/runtime_status");
  std::string state;
  for (int i = 0; i < 500; ++i) {
    std::ifstream(path) >> state;
    if (state == "suspended") {
      printf("vfio_update: sleep: done\n");
      return interrupts;
    }
    usleep(10'000);
  }
  return absl::DeadlineExceededError(absl::StrCat("the device is ", state, ", not suspended"));
}

// Where the power-management register of the device is.
absl::StatusOr<uint64_t> PowerRegister(const PciConfigSpace& config) {
  ASSIGN_OR_RETURN(const uint8_t capability, config.FindCapability(PCI_CAP_ID_PM));
  return capability + uint64_t{PCI_PM_CTRL};
}

absl::Status PowerDown(DrivenDevice& driven) {
  ASSIGN_OR_RETURN(PciConfigSpace config, driven.device.Config());
  ASSIGN_OR_RETURN(const uint64_t at, PowerRegister(config));
  RETURN_IF_ERROR(config.Write<uint16_t>(at, 3));
  ASSIGN_OR_RETURN(const uint16_t state, config.Read<uint16_t>(at));
  if ((state & PCI_PM_CTRL_STATE_MASK) != 3) return absl::InternalError("it is not in D3hot");
  return driven.device.Detach();
}

absl::Status PrintPowerState(const VfioDevice& device) {
  ASSIGN_OR_RETURN(const PciConfigSpace config, device.Config());
  ASSIGN_OR_RETURN(const uint64_t at, PowerRegister(config));
  ASSIGN_OR_RETURN(const uint16_t state, config.Read<uint16_t>(at));
  printf("D%d\n", state & PCI_PM_CTRL_STATE_MASK);
  return absl::OkStatus();
}

absl::Status Change(const std::string& change, DrivenDevice& first, const DmaArena& arena) {
  if (change == "detach") return first.device.Detach();
  if (change == "map") return arena.MapScattered(first.ioas, kTooManyTables);
  if (change == "power-down") return PowerDown(first);
  if (change == "load") return LoadInVain();
  if (change == "unload") return SystemKexec().Unload();
  if (change == "kexec-load") return LoadWithoutHandover();
  if (system(change.c_str()) != 0) return absl::InternalError(absl::StrCat(change, ": failed"));
  return absl::OkStatus();
}

absl::Status SwitchOn(const VfioDevice& device) {
  ASSIGN_OR_RETURN(PciConfigSpace config, device.Config());
  return config.SetCommandBits(kPciCommandMemory | kPciCommandBusMaster);
}

absl::Status Leave(const std::string& line, const std::string& change,
                   const std::vector<PciAddress>& addresses) {
  ASSIGN_OR_RETURN(const DmaArena arena, DmaArena::Create(1 << 20));
  RETURN_IF_ERROR(PciSysfs().BindToVfioPci(addresses[0]));
  ASSIGN_OR_RETURN(VfioDevice opened, VfioDevice::Open(addresses[0]));
  ASSIGN_OR_RETURN(DrivenDevice first, Drive(std::move(opened), arena));
  RETURN_IF_ERROR(SwitchOn(first.device));
  ASSIGN_OR_RETURN(auto client, luo::KernelLiveUpdate::Open());
  ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client->CreateSession(kSession));
  RETURN_IF_ERROR(session.PreserveFd(arena.memfd(), kArenaToken));
  RETURN_IF_ERROR(first.device.Preserve(session, kFirstDeviceToken));
  std::vector<VfioDevice> others;
  for (size_t i = 1; i < addresses.size(); ++i) {
    ASSIGN_OR_RETURN(VfioDevice device, OpenBeside(addresses[i], first));
    RETURN_IF_ERROR(SwitchOn(device));
    RETURN_IF_ERROR(device.Preserve(session, kFirstDeviceToken + i));
    others.push_back(std::move(device));
  }
  RETURN_IF_ERROR(LoadNextKernelWith(line));
  // Another program may take it meanwhile: the session has a file of its own.
  client.reset();
  std::thread arming;
  std::optional<VfioInterrupts> armed;
  if (change == "arm") {
    ASSIGN_OR_RETURN(arming, BeginToArm(first.device));
  } else if (change == "sleep") {
    ASSIGN_OR_RETURN(armed, PutToSleep(first.device, addresses[0]));
  } else {
    RETURN_IF_ERROR(Change(change, first, arena));
  }
  fflush(stdout);
  const absl::Status status = SystemKexec().Execute();
  if (arming.joinable()) arming.join();
  if (change == "power-down") RETURN_IF_ERROR(PrintPowerState(first.device));
  return status;
}

absl::Status TakeOver(luo::LiveUpdateSession& session, uint64_t token, const DmaArena& arena,
                      decltype(&Drive) drive, std::vector<DrivenDevice>& taken) {
  ASSIGN_OR_RETURN(VfioDevice device, VfioDevice::Retrieve(session, token));
  ASSIGN_OR_RETURN(DrivenDevice driven, drive(std::move(device), arena));
  taken.push_back(std::move(driven));
  return absl::OkStatus();
}

absl::Status Return(decltype(&Drive) drive, const std::vector<PciAddress>& addresses) {
  ASSIGN_OR_RETURN(auto client, luo::KernelLiveUpdate::Open());
  ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client->RetrieveSession(kSession));
  ASSIGN_OR_RETURN(UniqueFd arena_fd, session.RetrieveFd(kArenaToken));
  ASSIGN_OR_RETURN(const DmaArena arena, DmaArena::FromFd(std::move(arena_fd)));
  std::vector<DrivenDevice> taken;
  for (size_t i = 0; i < addresses.size(); ++i) {
    const absl::Status status = TakeOver(session, kFirstDeviceToken + i, arena, drive, taken);
    printf("%s: %s\n", addresses[i].ToString().c_str(),
           status.ok() ? "attached" : NamedError(status).c_str());
  }
  return session.Finish();
}

absl::Status PreserveAgainAndAgain(luo::LiveUpdateClient& client, const VfioDevice& device) {
  for (int i = 0; i < kRaceRounds; ++i) {
    ASSIGN_OR_RETURN(luo::LiveUpdateSession session, client.CreateSession(device.name()));
    RETURN_IF_ERROR(device.Preserve(session, kFirstDeviceToken));
  }
  return absl::OkStatus();
}

absl::Status Race(const std::vector<PciAddress>& addresses) {
  ASSIGN_OR_RETURN(const DmaArena arena, DmaArena::Create(1 << 20));
  RETURN_IF_ERROR(PciSysfs().BindToVfioPci(addresses[0]));
  ASSIGN_OR_RETURN(VfioDevice opened, VfioDevice::Open(addresses[0]));
  ASSIGN_OR_RETURN(const DrivenDevice first, Drive(std::move(opened), arena));
  ASSIGN_OR_RETURN(const VfioDevice second, OpenBeside(addresses.at(1), first));
  ASSIGN_OR_RETURN(auto client, luo::KernelLiveUpdate::Open());
  absl::Status beside;
  std::thread thread([&] { beside = PreserveAgainAndAgain(*client, second); });
  const absl::Status status = PreserveAgainAndAgain(*client, first.device);
  thread.join();
  RETURN_IF_ERROR(beside);
  return status;
}

absl::Status Run(int argc, char** argv) {
  const bool leave = strcmp(argv[1], "leave") == 0;
  ASSIGN_OR_RETURN(const std::vector<PciAddress> addresses, Addresses(argc, argv, leave ? 4 : 2));
  if (leave) return Leave(argv[2], argv[3], addresses);
  if (strcmp(argv[1], "race") == 0) return Race(addresses);
  const bool nested = strcmp(argv[1], "return-nested") == 0;
  return Return(nested ? DriveAfterNested : Drive, addresses);
}

}  // namespace
}  // namespace vmm

int main(int argc, char** argv) {
  setvbuf(stdout, nullptr, _IOLBF, 0);
  if (argc < 3 || (strcmp(argv[1], "leave") == 0 && argc < 5) ||
      (strcmp(argv[1], "race") == 0 && argc < 4)) {
    fprintf(stderr,
            "usage: vfio_update leave LINE CHANGE ADDRESS... | vfio_update return|return-nested "
            "ADDRESS... | "
            "vfio_update race ADDRESS ADDRESS\n");
    return 2;
  }
  const absl::Status status = vmm::Run(argc, argv);
  if (status.ok()) return 0;
  printf("vfio_update: %s\n", vmm::NamedError(status).c_str());
  return 1;
}
