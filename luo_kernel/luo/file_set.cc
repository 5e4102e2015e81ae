#include "luo_kernel/luo/file_set.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/kcmp.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "luo_kernel/luo/restore_free.h"

namespace luo {
namespace {

bool SameOpenFile(int a, int b) {
  const pid_t self = getpid();
  return syscall(SYS_kcmp, self, self, KCMP_FILE, a, b) == 0;
}

std::string TokenText(uint64_t token) { return absl::StrFormat("token %#x", token); }

}  // namespace

bool PreservedFiles::Insert(const std::optional<FileId>& id, int file) {
  if (id.has_value()) return by_id_.insert(*id).second;
  for (const int other : descriptors_) {
    if (SameOpenFile(file, other)) return false;
  }
  return descriptors_.insert(file).second;
}

void PreservedFiles::Erase(const std::optional<FileId>& id, int file) {
  if (id.has_value()) {
    by_id_.erase(*id);
  } else {
    descriptors_.erase(file);
  }
}

FileSet::FileSet(OutgoingHandover* outgoing, HandlerRegistry* registry, PreservedFiles* preserved)
    : outgoing_(outgoing),
      registry_(registry),
      preserved_(preserved),
      blocks_(outgoing, sizeof(abi::LuoFileSer)) {}

absl::Status FileSet::Preserve(uint64_t token,
                               const std::function<absl::StatusOr<vmm::UniqueFd>()>& take) {
  const std::string what = absl::StrCat("preserve ", TokenText(token));
  if (by_token_.contains(token)) return vmm::ErrnoStatus(EEXIST, what);
  if (files_.size() >= kMaxFiles) return vmm::ErrnoStatus(ENOSPC, what);
  if (absl::Status grown = blocks_.Grow(files_.size() + 1); !grown.ok()) {
    return vmm::ErrnoStatus(ENOMEM, absl::StrCat(what, ": ", grown.message()));
  }
  auto file = std::make_unique<File>();
  const absl::Status status = [&]() -> absl::Status {
    ASSIGN_OR_RETURN(file->file, take());
    if (!file->file.valid()) return vmm::ErrnoStatus(EBADF, what);
    file->entry = registry_->FindFor(file->file.get());
    if (file->entry == nullptr) {
      return vmm::ErrnoStatus(ENOENT, absl::StrCat(what, ": no handler knows this kind of file"));
    }
    FileHandler& handler = *file->entry->handler;
    file->token = token;
    file->id = handler.GetId(file->file.get());
    if (!preserved_->Insert(file->id, file->file.get())) {
      return vmm::ErrnoStatus(EBUSY, absl::StrCat(what, ": the file is preserved already"));
    }
    absl::Status preserved = registry_->PreserveFlbs(*file->entry);
    if (preserved.ok()) {
      file->args.file = file->file.get();
      preserved = handler.Preserve(file->args);
      if (!preserved.ok()) registry_->UnpreserveFlbs(*file->entry);
    }
    if (!preserved.ok()) preserved_->Erase(file->id, file->file.get());
    return vmm::Annotate(preserved, what);
  }();
  if (!status.ok()) {
    (void)blocks_.Shrink(files_.size());
    return status;
  }
  ++file->entry->files;
  by_token_.emplace(token, file.get());
  files_.push_back(std::move(file));
  return absl::OkStatus();
}

void FileSet::UnpreserveAll() {
  while (!files_.empty()) {
    const std::unique_ptr<File> file = std::move(files_.back());
    files_.pop_back();
    by_token_.erase(file->token);
    file->entry->handler->Unpreserve(file->args);
    registry_->UnpreserveFlbs(*file->entry);
    preserved_->Erase(file->id, file->file.get());
    --file->entry->files;
    (void)blocks_.Shrink(files_.size());
  }
  (void)blocks_.Free();
}

void FileSet::UnfreezeFirst(size_t count) {
  while (count > 0) {
    File& file = *files_[--count];
    file.entry->handler->Unfreeze(file.args);
  }
  (void)blocks_.Clear();
}

absl::Status FileSet::Freeze(abi::LuoFileSetSer* ser) {
  RETURN_IF_ERROR(blocks_.Clear());
  for (size_t i = 0; i < files_.size(); ++i) {
    File& file = *files_[i];
    const uint64_t data = file.args.data;
    absl::Status status = file.entry->handler->Freeze(file.args);
    if (status.ok()) {
      abi::LuoFileSer file_ser = {};
      const absl::string_view compatible = file.entry->handler->compatible();
      memcpy(file_ser.compatible, compatible.data(), compatible.size());
      file_ser.data = file.args.data;
      file_ser.token = file.token;
      status = blocks_.Append(file_ser);
      if (!status.ok()) file.entry->handler->Unfreeze(file.args);
    } else {
      // What a freeze that failed has written does not count.
      file.args.data = data;
    }
    if (!status.ok()) {
      UnfreezeFirst(i);
      return vmm::Annotate(status, absl::StrCat("freeze ", TokenText(file.token)));
    }
  }
  ser->files = blocks_.head().value();
  ser->count = files_.size();
  return absl::OkStatus();
}

void FileSet::Unfreeze() { UnfreezeFirst(files_.size()); }

absl::Status FileSet::Deserialize(IncomingHandover* incoming, const abi::LuoFileSetSer& ser) {
  if (ser.files == 0) return absl::OkStatus();
  ASSIGN_OR_RETURN(
      const BlockList list,
      ReadBlockList(incoming->memory(), PhysicalAddress(ser.files), sizeof(abi::LuoFileSer)));
  // From here on each block is read once: a list that two sessions share ends here.
  absl::Status status = RestoreFree(*incoming, outgoing_->arena(), list);
  for (size_t i = 0; status.ok() && i < list.size(); ++i) {
    const auto file_ser = list.Get<abi::LuoFileSer>(i);
    const absl::string_view compatible(file_ser.compatible,
                                       strnlen(file_ser.compatible, sizeof(file_ser.compatible)));
    auto file = std::make_unique<File>();
    file->entry = registry_->FindCompatible(compatible);
    if (file->entry == nullptr) {
      status = vmm::ErrnoStatus(ENOENT, absl::StrCat("no handler for '", compatible, "'"));
      break;
    }
    file->token = file_ser.token;
    file->args.data = file_ser.data;
    ++file->entry->files;
    by_token_.emplace(file->token, file.get());
    files_.push_back(std::move(file));
  }
  if (status.ok() && files_.size() != ser.count) {
    status = vmm::ErrnoStatus(
        EINVAL, absl::StrCat(files_.size(), " files where there should be ", ser.count));
  }
  if (!status.ok()) {
    for (const std::unique_ptr<File>& file : files_) --file->entry->files;
    by_token_.clear();
    files_.clear();
  }
  return status;
}

absl::StatusOr<vmm::UniqueFd> FileSet::Retrieve(uint64_t token) {
  const std::string what = absl::StrCat("retrieve ", TokenText(token));
  const auto found = by_token_.find(token);
  if (found == by_token_.end()) return vmm::ErrnoStatus(ENOENT, what);
  File& file = *found->second;
  if (file.args.retrieve_status < 0) return file.retrieve_error;
  if (file.args.retrieve_status == 0) {
    absl::StatusOr<vmm::UniqueFd> opened = file.entry->handler->Retrieve(file.args);
    if (!opened.ok()) {
      file.retrieve_error = vmm::Annotate(opened.status(), what);
      const int error = vmm::StatusErrno(opened.status());
      file.args.retrieve_status = error > 0 ? -error : -EIO;
      return file.retrieve_error;
    }
    file.file = *std::move(opened);
    file.args.file = file.file.get();
    file.args.retrieve_status = 1;
    file.id = file.entry->handler->GetId(file.file.get());
    (void)preserved_->Insert(file.id, file.file.get());
  }
  // LUO keeps its own until the session is finished.
  vmm::UniqueFd copy(fcntl(file.file.get(), F_DUPFD_CLOEXEC, 0));
  if (!copy.valid()) return vmm::ErrnoStatus(errno, what);
  return copy;
}

absl::Status FileSet::Finish() {
  for (const std::unique_ptr<File>& file : files_) {
    if (!file->entry->handler->CanFinish(file->args)) {
      return vmm::ErrnoStatus(EBUSY, absl::StrCat("finish ", TokenText(file->token)));
    }
  }
  while (!files_.empty()) {
    const std::unique_ptr<File> file = std::move(files_.back());
    files_.pop_back();
    by_token_.erase(file->token);
    file->entry->handler->Finish(file->args);
    registry_->FinishFlbs(*file->entry);
    if (file->file.valid()) preserved_->Erase(file->id, file->file.get());
    --file->entry->files;
  }
  by_token_.clear();
  return absl::OkStatus();
}

}  // namespace luo
