// FakeHandler and FakeFlb: a file handler for tests, of memfds whose first eight bytes are a
// number, and an FLB. Either writes down what it was asked, and fails where it is told to.
//
//   Faults faults;
//   auto handler = std::make_shared<FakeHandler>("fake-v1", machine, &faults);
//   faults.fail_at = 3;   // the fourth call that can fail
#ifndef LUO_KERNEL_LUO_FAKE_HANDLER_H_
#define LUO_KERNEL_LUO_FAKE_HANDLER_H_

#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/luo/booting_machine.h"
#include "luo_kernel/luo/file_handler.h"
#include "luo_kernel/luo/restore_free.h"

namespace luo {

// Which of the calls that can fail does.
struct Faults {
  int64_t fail_at = -1;
  int error = EIO;
  int64_t calls = 0;
  std::vector<std::string> log;

  // An error for the call that is to fail.
  absl::Status Check(const std::string& what) {
    log.push_back(what);
    if (calls++ != fail_at) return absl::OkStatus();
    log.back() += " fails";
    return vmm::ErrnoStatus(error, what);
  }
  void Note(const std::string& what) { log.push_back(what); }
};

inline vmm::UniqueFd NumberFile(uint64_t number) {
  vmm::UniqueFd fd(memfd_create("number", MFD_CLOEXEC));
  EXPECT_EQ(pwrite(fd.get(), &number, sizeof(number), 0), static_cast<ssize_t>(sizeof(number)));
  return fd;
}

inline uint64_t NumberIn(int fd) {
  uint64_t number = 0;
  EXPECT_EQ(pread(fd, &number, sizeof(number), 0), static_cast<ssize_t>(sizeof(number)));
  return number;
}

class FakeHandler : public FileHandler {
 public:
  FakeHandler(std::string compatible, BootingMachine& machine, Faults* faults)
      : compatible_(std::move(compatible)), machine_(machine), faults_(faults) {}

  // Which files it knows; all memfds if not set.
  std::function<bool(int)> knows;
  bool by_inode = true;
  bool can_finish = true;

  absl::string_view compatible() const override { return compatible_; }
  bool CanPreserve(int file) override {
    return knows ? knows(file) : fcntl(file, F_GET_SEALS) >= 0;
  }
  std::optional<FileId> GetId(int file) override {
    struct stat info;
    if (!by_inode || fstat(file, &info) < 0) return std::nullopt;
    return FileId{info.st_dev, info.st_ino};
  }
  absl::Status Preserve(FileOpArgs& args) override {
    RETURN_IF_ERROR(faults_->Check(absl::StrCat("preserve ", NumberIn(args.file))));
    ASSIGN_OR_RETURN(const PhysicalAddress page, machine_.outgoing().AllocatePreserved(8));
    RETURN_IF_ERROR(WriteStruct(machine_.memory(), page, NumberIn(args.file)));
    args.data = page.value();
    return absl::OkStatus();
  }
  void Unpreserve(FileOpArgs& args) override {
    faults_->Note(absl::StrCat("unpreserve ", NumberIn(args.file)));
    EXPECT_EQ(machine_.outgoing().FreePreserved(PhysicalAddress(args.data), 8), absl::OkStatus());
  }
  absl::Status Freeze(FileOpArgs& args) override {
    RETURN_IF_ERROR(faults_->Check(absl::StrCat("freeze ", NumberIn(args.file))));
    return WriteStruct(machine_.memory(), PhysicalAddress(args.data), NumberIn(args.file));
  }
  void Unfreeze(FileOpArgs& args) override {
    faults_->Note(absl::StrCat("unfreeze ", NumberIn(args.file)));
  }
  absl::StatusOr<vmm::UniqueFd> Retrieve(FileOpArgs& args) override {
    const auto number = ReadStruct<uint64_t>(machine_.memory(), PhysicalAddress(args.data));
    const absl::Status freed =
        RestoreFree(*machine_.incoming(), machine_.arena(), PhysicalAddress(args.data));
    EXPECT_EQ(freed, absl::OkStatus());
    RETURN_IF_ERROR(number.status());
    RETURN_IF_ERROR(faults_->Check(absl::StrCat("retrieve ", *number)));
    return NumberFile(*number);
  }
  bool CanFinish(const FileOpArgs&) override { return can_finish; }
  void Finish(FileOpArgs& args) override {
    faults_->Note(absl::StrCat("finish ", args.retrieve_status));
    if (args.retrieve_status != 0) return;
    EXPECT_EQ(RestoreFree(*machine_.incoming(), machine_.arena(), PhysicalAddress(args.data)),
              absl::OkStatus());
  }

 private:
  const std::string compatible_;
  BootingMachine& machine_;
  Faults* const faults_;
};

// Its state is a number in a preserved page.
class FakeFlb : public Flb {
 public:
  FakeFlb(std::string compatible, BootingMachine& machine, Faults* faults)
      : compatible_(std::move(compatible)), machine_(machine), faults_(faults) {}

  absl::string_view compatible() const override { return compatible_; }
  absl::Status Preserve(FlbOpArgs& args) override {
    RETURN_IF_ERROR(faults_->Check("preserve " + compatible_));
    ASSIGN_OR_RETURN(const PhysicalAddress page, machine_.outgoing().AllocatePreserved(8));
    RETURN_IF_ERROR(WriteStruct(machine_.memory(), page, uint64_t{0xf1b}));
    args.data = page.value();
    args.object = std::make_shared<uint64_t>(0xf1b);
    return absl::OkStatus();
  }
  void Unpreserve(FlbOpArgs& args) override {
    faults_->Note("unpreserve " + compatible_);
    EXPECT_EQ(machine_.outgoing().FreePreserved(PhysicalAddress(args.data), 8), absl::OkStatus());
  }
  absl::Status Retrieve(FlbOpArgs& args) override {
    RETURN_IF_ERROR(faults_->Check("retrieve " + compatible_));
    ASSIGN_OR_RETURN(const auto number,
                     ReadStruct<uint64_t>(machine_.memory(), PhysicalAddress(args.data)));
    args.object = std::make_shared<uint64_t>(number);
    return absl::OkStatus();
  }
  void Finish(FlbOpArgs& args) override {
    faults_->Note("finish " + compatible_);
    EXPECT_EQ(*std::static_pointer_cast<uint64_t>(args.object), 0xf1bu);
    EXPECT_EQ(RestoreFree(*machine_.incoming(), machine_.arena(), PhysicalAddress(args.data)),
              absl::OkStatus());
  }

 private:
  const std::string compatible_;
  BootingMachine& machine_;
  Faults* const faults_;
};

}  // namespace luo

#endif  // LUO_KERNEL_LUO_FAKE_HANDLER_H_
