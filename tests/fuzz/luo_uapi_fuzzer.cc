// What a hostile program may ask of /dev/liveupdate and its sessions: any sequence of ioctls with
// any bytes, closes, and kexecs. An input is a sequence of steps; the first byte of each says what.
//   0 ioctl of the device:   command, length of the argument, the argument
//   1 ioctl of a session:    which one, command, length, argument
//   2 last close of a session: which one
//   3 kexec: every descriptor is gone
//   4 a kexec that is called off after the freeze
// A command is one byte: the number of a known one (0 to 5), or else 4 bytes follow, any command.
#include <errno.h>
#include <fcntl.h>
#include <linux/liveupdate.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include <iterator>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/luo/booting_machine.h"
#include "luo_kernel/luo/uapi.h"
#include "luo_kernel/memfd/memfd_handler.h"

namespace {

constexpr uint32_t kCommands[] = {
    LIVEUPDATE_IOCTL_CREATE_SESSION, LIVEUPDATE_IOCTL_RETRIEVE_SESSION,
    LIVEUPDATE_SESSION_PRESERVE_FD,  LIVEUPDATE_SESSION_RETRIEVE_FD,
    LIVEUPDATE_SESSION_FINISH,       LIVEUPDATE_SESSION_GET_NAME,
};

// The rest of the input; what is not there is zero.
class Input {
 public:
  Input(const uint8_t* data, size_t size) : rest_(data, size) {}
  bool empty() const { return rest_.empty(); }
  uint8_t Byte() {
    if (rest_.empty()) return 0;
    const uint8_t byte = rest_[0];
    rest_.remove_prefix(1);
    return byte;
  }
  std::vector<uint8_t> Bytes(size_t size) {
    std::vector<uint8_t> bytes(size);
    for (uint8_t& byte : bytes) byte = Byte();
    return bytes;
  }
  uint32_t Command() {
    const uint8_t known = Byte();
    if (known < std::size(kCommands)) return kCommands[known];
    uint32_t command;
    memcpy(&command, Bytes(sizeof(command)).data(), sizeof(command));
    return command;
  }

 private:
  absl::Span<const uint8_t> rest_;
};

// Descriptors 0 to 3 are memfds, others are not there.
class Process : public luo::FdPasser {
 public:
  Process() {
    for (vmm::UniqueFd& file : files_) file.Reset(memfd_create("fuzz", MFD_CLOEXEC));
  }
  absl::StatusOr<vmm::UniqueFd> Take(int number) override {
    if (number < 0 || number >= 4) return vmm::ErrnoStatus(EBADF, "take");
    return vmm::UniqueFd(fcntl(files_[number].get(), F_DUPFD_CLOEXEC, 0));
  }
  absl::StatusOr<int> Install(vmm::UniqueFd file) override {
    files_[next_++ % 4] = std::move(file);
    return 100;
  }
  absl::StatusOr<int> Install(std::unique_ptr<luo::SessionFile> session) override {
    if (sessions.size() >= 5) return vmm::ErrnoStatus(EMFILE, "install");
    sessions.push_back(std::move(session));
    return 101;
  }

  std::vector<std::unique_ptr<luo::SessionFile>> sessions;

 private:
  vmm::UniqueFd files_[4];
  unsigned next_ = 0;
};

void CheckAnswer(int error) {
  if (error < 0 || error > 133) abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  luo::BootingMachine machine;
  machine.on_boot = [](luo::BootingMachine& booted) {
    if (!booted.luo()
             .RegisterFileHandler(std::make_shared<luo::MemfdHandler>(
                 &booted.memory(), &booted.outgoing(), booted.incoming()))
             .ok()) {
      abort();
    }
  };
  machine.PowerOn(uint64_t{2} << 20);
  Process process;
  std::unique_ptr<luo::DeviceFile> device = luo::DeviceFile::Open(machine.shared_luo()).value();
  int kexecs = 0;
  Input input(data, size);
  while (!input.empty()) {
    const uint8_t step = input.Byte();
    switch (step % 5) {
      case 0: {
        const uint32_t command = input.Command();
        std::vector<uint8_t> argument = input.Bytes(input.Byte());
        CheckAnswer(device->Ioctl(command, absl::MakeSpan(argument), process));
        break;
      }
      case 1: {
        const uint8_t which = input.Byte();
        const uint32_t command = input.Command();
        std::vector<uint8_t> argument = input.Bytes(input.Byte());
        if (process.sessions.empty()) break;
        luo::SessionFile& session = *process.sessions[which % process.sessions.size()];
        CheckAnswer(session.Ioctl(command, absl::MakeSpan(argument), process));
        break;
      }
      case 2: {
        const uint8_t which = input.Byte();
        if (process.sessions.empty()) break;
        process.sessions.erase(process.sessions.begin() + which % process.sessions.size());
        break;
      }
      case 3:
        if (++kexecs > 3) break;
        // What this LUO hands over, it takes.
        if (!machine.Kexec().ok()) abort();
        process.sessions.clear();
        device = luo::DeviceFile::Open(machine.shared_luo()).value();
        break;
      case 4:
        if (!machine.luo().Reboot().ok()) abort();
        if (!process.sessions.empty() && step >= 128) process.sessions.pop_back();
        machine.luo().CancelReboot();
        break;
    }
  }
  // Closed, it leaves nothing of this kernel's preserved but the pages of LUO and KHO themselves.
  process.sessions.clear();
  if (machine.outgoing().preserved_pages() > 3) abort();
  return 0;
}
