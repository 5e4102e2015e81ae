// Supervisor: answers the system calls of programs as a kernel with LUO would. What it knows of
// open files is one end of a pipe for each: the other end is what the program has as
// /dev/liveupdate or a session. So dup, fork, exec, SCM_RIGHTS and death need no watching: when the
// last descriptor goes, however it goes, the pipe says so.
//
//   ASSIGN_OR_RETURN(auto supervisor, Supervisor::Create(
//       machine.get(), Supervisor::Reboots::kAllowed));
//   ...when listener.fd() is readable, and HandleCloses() when closes_fd() is...
//   ASSIGN_OR_RETURN(Supervisor::Request request, supervisor->HandleCall(listener));
//   if (request == Supervisor::Request::kKexec) {
//     ...end all programs...
//     supervisor->CloseAll();
//     RETURN_IF_ERROR(machine->Kexec());
//   }
//
// A descriptor that is closed before a call is made is closed when the call is answered, as in the
// kernel: closes are looked for before each answer.
//
// One thread. The machine outlives it.
#ifndef LUO_KERNEL_HOSTED_SUPERVISOR_H_
#define LUO_KERNEL_HOSTED_SUPERVISOR_H_

#include <stdint.h>

#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "luo_kernel/hosted/machine.h"
#include "luo_kernel/hosted/seccomp_listener.h"
#include "luo_kernel/hosted/target_thread.h"
#include "luo_kernel/luo/uapi.h"

namespace luo {

class Supervisor {
 public:
  // What a program asked of the machine as a whole by reboot(2).
  enum class Request {
    kNone,
    kKexec,     // everything is frozen; the call is not answered
    kRestart,   // nor is it here: a cold start
    kPowerOff,  // nor here
  };

  // Whether programs may ask for them, or get EPERM.
  enum class Reboots { kAllowed, kRefused };

  static absl::StatusOr<std::unique_ptr<Supervisor>> Create(HostedMachine* machine,
                                                            Reboots reboots);
  Supervisor(const Supervisor&) = delete;
  Supervisor& operator=(const Supervisor&) = delete;
  ~Supervisor();

  // Answers one call, if one waits. After a request other than kNone no further call should be
  // answered. An error: the listener is of no use any more.
  absl::StatusOr<Request> HandleCall(SeccompListener& listener);

  // Readable when a file was closed for good: then HandleCloses().
  int closes_fd() const { return closes_.get(); }
  void HandleCloses();

  // Closes every file as if all programs were gone.
  void CloseAll();

  // A program has loaded the next kernel; and the command line it gave it.
  bool kexec_image() const { return kexec_image_; }
  const std::string& kexec_command_line() const { return kexec_command_line_; }

 private:
  struct OpenFile;
  class CallersFds;
  struct Call;

  Supervisor(HostedMachine* machine, Reboots reboots);

  Request Answer(const Call& call);
  void AnswerOpen(const Call& call);
  void AnswerStat(const Call& call);
  void AnswerReadLink(const Call& call);
  void AnswerIoctl(const Call& call);
  void AnswerResize(const Call& call);
  void AnswerKexecFileLoad(const Call& call);
  Request AnswerReboot(const Call& call);

  int OpenDevice(const Call& call, uint64_t flags);
  // A new file: `theirs` is the end for the program.
  absl::StatusOr<OpenFile*> NewFile(vmm::UniqueFd* theirs);
  void Close(const Inode& inode);

  HostedMachine* const machine_;
  const Reboots reboots_;
  vmm::UniqueFd closes_;  // epoll of all files' pipes
  std::map<Inode, std::unique_ptr<OpenFile>> files_;
  std::map<uint64_t, Inode> by_number_;
  uint64_t next_number_ = 0;
  // Of preserved files: how many sessions have them.
  std::map<Inode, int> frozen_;
  bool kexec_image_ = false;
  std::string kexec_command_line_;
};

}  // namespace luo

#endif  // LUO_KERNEL_HOSTED_SUPERVISOR_H_
