#include "vmm/cli/vm_process.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <x86intrin.h>

#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "vmm/cli/exit_codes.h"
#include "vmm/cli/signals.h"
#include "vmm/cli/this_program.h"
#include "vmm/live_update/machine_update.h"
#include "vmm/live_update/participant.h"
#include "vmm/live_update/socket.h"

namespace vmm {
namespace {

// How long to leave poll() alone after it failed.
constexpr std::chrono::milliseconds kPollPause{100};

absl::StatusOr<std::unique_ptr<Participant>> JoinLiveUpdate(const MachineConfig& config,
                                                            bool resumed, MachineUpdate* update) {
  if (config.luod_socket.empty()) return nullptr;
  Participant::Options options{.connect = [path = config.luod_socket] { return ConnectTo(path); },
                               .registration = {.name = config.name,
                                                .vcpus = config.vcpus,
                                                .memory_bytes = config.memory_bytes,
                                                .pid = static_cast<uint32_t>(getpid()),
                                                .resume_argv = {PathOfThisProgram(), "resume"},
                                                .resumed = resumed},
                               .log = PrintNotice};
  return Participant::Create(std::move(options), update);
}

}  // namespace

void PrintNotice(const std::string& line) { fprintf(stderr, "vmm: %s\n", line.c_str()); }

int ExitCodeOfSignal(int signal) {
  PrintNotice(absl::StrCat("ended by SIG", sigabbrev_np(signal)));
  return kExitSignalBase + signal;
}

VmProcess::VmProcess(MachineConfig config, UniqueFd signals, NameLock name,
                     std::unique_ptr<EndLatch> end, std::unique_ptr<Console> console)
    : config_(std::move(config)),
      signals_(std::move(signals)),
      name_(std::move(name)),
      end_(std::move(end)),
      console_(std::move(console)) {}

absl::StatusOr<std::unique_ptr<VmProcess>> VmProcess::Create(const MachineConfig& config) {
  ASSIGN_OR_RETURN(UniqueFd signals, BlockSignals());
  ASSIGN_OR_RETURN(NameLock name, NameLock::Acquire(config.name));
  ASSIGN_OR_RETURN(std::unique_ptr<EndLatch> end, EndLatch::Create());
  ASSIGN_OR_RETURN(std::unique_ptr<Console> console, Console::Open(config.serial));
  return std::unique_ptr<VmProcess>(new VmProcess(config, std::move(signals), std::move(name),
                                                  std::move(end), std::move(console)));
}

Machine::Environment VmProcess::MachineEnvironment() {
  return {.serial_output = console_.get(),
          .on_end = [end = end_.get()](MachineEnd why) { end->Set(std::move(why)); },
          .notice = PrintNotice};
}

absl::StatusOr<int> VmProcess::Run(std::unique_ptr<Machine> machine, const Start& start) {
  const absl::StatusOr<int> signal = RunUntilEnd(*machine, start);
  // An update that the VM's end met has stopped both already, for good.
  machine->Pause();
  console_->Stop();
  machine.reset();
  RETURN_IF_ERROR(signal.status());
  if (*signal != 0) return ExitCodeOfSignal(*signal);
  const MachineEnd end = *end_->Get();
  if (end.reason == MachineEnd::Reason::kReset && config_.on_reset == OnReset::kRestart) {
    console_.reset();
    return RunAfresh();
  }
  if (end.reason != MachineEnd::Reason::kPowerOff) PrintNotice(end.detail);
  return ExitCodeOf(end);
}

absl::StatusOr<int> VmProcess::RunUntilEnd(Machine& machine, const Start& start) {
  Serial16550& serial = machine.platform().serial();
  serial.SetRoomCallback([this] { console_->ResumeInput(); });
  const auto start_console = [this, &serial] {
    return console_->Start({.input = [&serial](auto bytes) { return serial.Enqueue(bytes); },
                            .quit =
                                [this] {
                                  end_->Set({MachineEnd::Reason::kPowerOff, "quit"});
                                }});
  };
  // The guest can do without a console, if it has to.
  const auto go_on = [start_console] {
    if (absl::Status started = start_console(); !started.ok()) {
      PrintNotice(std::string(started.message()));
    }
  };
  MachineUpdate update(&machine, {.quiesce = [this] { console_->Stop(); }, .go_on = go_on});

  // All that the host may refuse comes before before_running(): after it there is no way back.
  RETURN_IF_ERROR(start_console());
  ASSIGN_OR_RETURN(auto participant, JoinLiveUpdate(config_, start.resumed, &update));
  RETURN_IF_ERROR(start.before_running());
  machine.Resume();
  const uint64_t run_tsc = __rdtsc();
  start.on_running();
  if (participant != nullptr) participant->Begin(run_tsc);
  return WaitForEnd(machine);
}

int VmProcess::WaitForEnd(Machine& machine) {
  while (true) {
    pollfd fds[] = {{end_->fd(), POLLIN, 0}, {signals_.get(), POLLIN, 0}};
    if (poll(fds, 2, -1) < 0) {
      // For want of memory, which passes: no reason to end a guest that is well.
      if (errno != EINTR) std::this_thread::sleep_for(kPollPause);
      continue;
    }
    if (fds[0].revents != 0) return 0;
    switch (const int number = ReadSignal(signals_.get())) {
      case 0:
        break;
      case SIGPWR:
        machine.platform().acpi_power().PressPowerButton();
        break;
      default:
        return number;
    }
  }
}

int VmProcess::ExitCodeOf(const MachineEnd& end) const {
  switch (end.reason) {
    case MachineEnd::Reason::kPowerOff:
      return kExitPowerOff;
    case MachineEnd::Reason::kReset:
      return kExitGuestReset;
    case MachineEnd::Reason::kTripleFault:
      return kExitTripleFault;
    case MachineEnd::Reason::kError:
      return kExitVmError;
  }
  return kExitVmError;
}

// A new process image is the surest fresh start: every descriptor is close-on-exec.
int VmProcess::RunAfresh() const {
  std::vector<std::string> arguments = config_.ToArguments();
  std::string program = PathOfThisProgram();
  std::vector<char*> argv = {program.data()};
  for (std::string& argument : arguments) argv.push_back(argument.data());
  argv.push_back(nullptr);
  execv(kThisProgram, argv.data());
  PrintNotice(absl::StrCat("cannot start the guest afresh: ", strerror(errno)));
  return kExitError;
}

}  // namespace vmm
