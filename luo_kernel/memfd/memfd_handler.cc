#include "luo_kernel/memfd/memfd_handler.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <set>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/luo/restore_free.h"

namespace luo {
namespace {

// The largest folio a memfd gets from Linux on x86: a huge page.
constexpr unsigned kMaxFolioOrder = 9;

// The order of the folio that starts at page `index` of a file of `pages` in which folios are as
// large as they can be.
unsigned OrderAt(uint64_t index, uint64_t pages) {
  unsigned order = std::min<unsigned>(kMaxFolioOrder, std::bit_width(pages - index) - 1);
  return index == 0 ? order : std::min<unsigned>(order, std::countr_zero(index));
}

// A new open file of what `fd` has open, readable and writable.
absl::StatusOr<vmm::UniqueFd> OpenAnew(int fd) {
  vmm::UniqueFd again(open(absl::StrCat("/proc/self/fd/", fd).c_str(), O_RDWR | O_CLOEXEC));
  if (!again.valid()) return vmm::ErrnoStatus(errno, "open a memfd anew");
  return again;
}

absl::Status FillHoles(int fd, const struct stat& info) {
  const uint64_t size = static_cast<uint64_t>(info.st_size);
  // As many blocks of 512 bytes as pages want: there is nothing to fill, and fallocate() would take
  // as long as for an empty file, or longer. (A huge page that goes over the end can hide a hole of
  // just that size, which then stays one.)
  const uint64_t pages = size / abi::kPageSize + (size % abi::kPageSize != 0);
  if (static_cast<uint64_t>(info.st_blocks) == pages * (abi::kPageSize / 512)) {
    return absl::OkStatus();
  }
  int error = fallocate(fd, 0, 0, info.st_size) < 0 ? errno : 0;
  if (error == EBADF) {
    const absl::StatusOr<vmm::UniqueFd> writable = OpenAnew(fd);
    if (!writable.ok()) return absl::OkStatus();
    error = fallocate(writable->get(), 0, 0, info.st_size) < 0 ? errno : 0;
  }
  if (error == 0) return absl::OkStatus();
  return vmm::ErrnoStatus(error, absl::StrCat("memory for a memfd of ", size, " bytes"));
}

absl::Status WithErrno(const absl::Status& status, int error) {
  if (status.ok() || vmm::StatusErrno(status) != 0) return status;
  return vmm::ErrnoStatus(error, status.message());
}

}  // namespace

struct MemfdHandler::State : public FileState {
  uint64_t size = 0;
  uint64_t pages = 0;
  // Of the extent, if there is a page at all.
  PhysicalAddress start;
};

MemfdHandler::MemfdHandler(ExtentMemory* memory, OutgoingHandover* outgoing,
                           IncomingHandover* incoming, Options options)
    : memory_(memory), outgoing_(outgoing), incoming_(incoming), options_(options) {}

absl::string_view MemfdHandler::compatible() const { return abi::kMemfdCompatible; }

bool MemfdHandler::CanPreserve(int file) {
  struct stat info;
  struct statfs system;
  return fstat(file, &info) == 0 && S_ISREG(info.st_mode) && info.st_nlink == 0 &&
         fstatfs(file, &system) == 0 && system.f_type == TMPFS_MAGIC;
}

std::optional<FileId> MemfdHandler::GetId(int file) {
  struct stat info;
  if (fstat(file, &info) < 0) return std::nullopt;
  return FileId{info.st_dev, info.st_ino};
}

absl::Status MemfdHandler::Preserve(FileOpArgs& args) {
  const int seals = fcntl(args.file, F_GET_SEALS);
  if (seals < 0) return vmm::ErrnoStatus(EINVAL, "seals of a memfd");
  if ((static_cast<uint32_t>(seals) & ~abi::kMemfdSeals) != 0) {
    return vmm::ErrnoStatus(EOPNOTSUPP, absl::StrFormat("a memfd with seals %#x", seals));
  }
  if (options_.pin_size && (seals & F_SEAL_SEAL) == 0 &&
      fcntl(args.file, F_ADD_SEALS, F_SEAL_GROW | F_SEAL_SHRINK) < 0) {
    return vmm::ErrnoStatus(errno, "pin the size of a memfd");
  }
  struct stat info;
  if (fstat(args.file, &info) < 0) return vmm::ErrnoStatus(errno, "fstat");
  auto state = std::make_unique<State>();
  state->size = static_cast<uint64_t>(info.st_size);
  state->pages = state->size / abi::kPageSize + (state->size % abi::kPageSize != 0);
  if (state->pages > abi::kMaxMemfdPages) {
    return vmm::ErrnoStatus(EFBIG, absl::StrCat("a memfd of ", state->size, " bytes"));
  }
  RETURN_IF_ERROR(FillHoles(args.file, info));

  std::vector<FolioImage> folios;
  const auto undo = [&] {
    for (const FolioImage& folio : folios) {
      (void)outgoing_->UnpreserveFolio(folio.address, OrderAt(folio.index, state->pages));
    }
    if (state->pages > 0) (void)memory_->Remove(state->start);
  };
  if (state->pages > 0) {
    vmm::UniqueFd pages(fcntl(args.file, F_DUPFD_CLOEXEC, 0));
    if (!pages.valid()) return vmm::ErrnoStatus(errno, "preserve a memfd");
    absl::StatusOr<PhysicalAddress> start = memory_->AddAnywhere(
        std::move(pages), 0, state->pages << abi::kPageShift, ExtentUse::kData);
    if (!start.ok()) return WithErrno(start.status(), ENOMEM);
    state->start = *start;
  }
  for (uint64_t index = 0; index < state->pages;) {
    const unsigned order = OrderAt(index, state->pages);
    const PhysicalAddress folio(state->start.value() + (index << abi::kPageShift));
    if (absl::Status status = outgoing_->PreserveFolio(folio, order); !status.ok()) {
      undo();
      return WithErrno(status, ENOMEM);
    }
    folios.push_back({folio, abi::kFolioDirty | abi::kFolioUptodate, index});
    index += uint64_t{1} << order;
  }
  const off_t position = lseek(args.file, 0, SEEK_CUR);
  absl::StatusOr<PhysicalAddress> data =
      WriteMemfdSer(*outgoing_, position < 0 ? 0 : static_cast<uint64_t>(position), state->size,
                    static_cast<uint32_t>(seals), folios);
  if (!data.ok()) {
    undo();
    return WithErrno(data.status(), ENOMEM);
  }
  args.data = data->value();
  args.state = std::move(state);
  return absl::OkStatus();
}

void MemfdHandler::Unpreserve(FileOpArgs& args) {
  const auto* state = static_cast<const State*>(args.state.get());
  if (state == nullptr) return;
  (void)FreeMemfdSer(*outgoing_, PhysicalAddress(args.data));
  for (uint64_t index = 0; index < state->pages;) {
    const unsigned order = OrderAt(index, state->pages);
    (void)outgoing_->UnpreserveFolio(
        PhysicalAddress(state->start.value() + (index << abi::kPageShift)), order);
    index += uint64_t{1} << order;
  }
  if (state->pages > 0) (void)memory_->Remove(state->start);
  args.state.reset();
}

absl::Status MemfdHandler::Freeze(FileOpArgs& args) {
  const auto* state = static_cast<const State*>(args.state.get());
  if (state == nullptr) return vmm::ErrnoStatus(EINVAL, "freeze a memfd that is not preserved");
  struct stat info;
  if (fstat(args.file, &info) < 0) return vmm::ErrnoStatus(errno, "fstat");
  if (static_cast<uint64_t>(info.st_size) != state->size) {
    return vmm::ErrnoStatus(EPERM, absl::StrCat("a memfd was preserved with ", state->size,
                                                " bytes and has ", info.st_size, " now"));
  }
  const PhysicalAddress address(args.data);
  ASSIGN_OR_RETURN(auto ser, ReadStruct<abi::MemfdSer>(outgoing_->memory(), address));
  const off_t position = lseek(args.file, 0, SEEK_CUR);
  if (position >= 0) ser.pos = static_cast<uint64_t>(position);
  return WriteStruct(outgoing_->memory(), address, ser);
}

absl::Status MemfdHandler::TakeDescription(PhysicalAddress address) {
  const absl::StatusOr<abi::MemfdSer> ser = ReadStruct<abi::MemfdSer>(incoming_->memory(), address);
  if (!ser.ok()) return ser.status();
  Arena& arena = outgoing_->arena();
  absl::Status status;
  if (ser->nr_folios > 0) status = RestoreFree(*incoming_, arena, ser->folios);
  status.Update(RestoreFree(*incoming_, arena, address));
  return status;
}

absl::Status MemfdHandler::TakeFolios(const std::vector<FolioImage>& folios) {
  absl::Status status;
  std::set<PhysicalAddress> extents;
  for (const FolioImage& folio : folios) {
    const absl::StatusOr<unsigned> order = incoming_->RestoreFolio(folio.address);
    if (!order.ok()) {
      status.Update(order.status());
      continue;
    }
    FreeRestored(outgoing_->arena(), folio.address, *order);
    const absl::StatusOr<Extent> extent = memory_->Find(folio.address);
    if (extent.ok() && extent->use == ExtentUse::kData) extents.insert(extent->range.start);
  }
  for (const PhysicalAddress start : extents) {
    const absl::StatusOr<Extent> extent = memory_->Find(start);
    if (extent.ok() && !incoming_->preserved().FindIn(extent->range).has_value()) {
      (void)memory_->Remove(start);
    }
  }
  return status;
}

absl::StatusOr<vmm::UniqueFd> MemfdHandler::Reopen(const MemfdImage& image, int pages) {
  ASSIGN_OR_RETURN(vmm::UniqueFd file, OpenAnew(pages));
  struct stat info;
  if (fstat(file.get(), &info) < 0) return vmm::ErrnoStatus(errno, "fstat");
  if (static_cast<uint64_t>(info.st_size) != image.size) {
    return vmm::ErrnoStatus(
        EIO, absl::StrCat("a memfd of ", image.size, " bytes has ", info.st_size, " now"));
  }
  (void)!lseek(file.get(), static_cast<off_t>(image.position), SEEK_SET);
  const int seals = fcntl(file.get(), F_GET_SEALS);
  const uint32_t missing = image.seals & ~static_cast<uint32_t>(seals < 0 ? 0 : seals);
  if (missing != 0 && fcntl(file.get(), F_ADD_SEALS, missing) < 0) {
    return vmm::ErrnoStatus(errno, "seal a memfd");
  }
  return file;
}

absl::StatusOr<vmm::UniqueFd> MemfdHandler::PagesOf(const MemfdImage& image) const {
  vmm::UniqueFd none;
  if (image.folios.empty()) return none;
  const absl::StatusOr<Extent> extent = memory_->Find(image.folios.front().address);
  if (!extent.ok() || extent->use != ExtentUse::kData) return none;
  for (const FolioImage& folio : image.folios) {
    const uint64_t offset = folio.index << abi::kPageShift;
    if (!extent->range.Contains(folio.address, abi::kPageSize) ||
        folio.address.value() - extent->range.start.value() + extent->offset != offset) {
      return vmm::ErrnoStatus(EIO, "a memfd whose pages are not in the order of their file");
    }
  }
  vmm::UniqueFd pages(fcntl(extent->fd, F_DUPFD_CLOEXEC, 0));
  if (!pages.valid()) return vmm::ErrnoStatus(errno, "retrieve a memfd");
  return pages;
}

absl::StatusOr<vmm::UniqueFd> MemfdHandler::Retrieve(FileOpArgs& args) {
  const PhysicalAddress address(args.data);
  if (incoming_ == nullptr || args.data == 0) return vmm::ErrnoStatus(EINVAL, "retrieve a memfd");
  const absl::StatusOr<MemfdImage> image = ReadMemfd(incoming_->memory(), address);
  if (!image.ok()) {
    (void)TakeDescription(address);
    return WithErrno(image.status(), EINVAL);
  }
  absl::StatusOr<vmm::UniqueFd> pages = PagesOf(*image);
  absl::StatusOr<vmm::UniqueFd> file = vmm::UniqueFd();
  if (!pages.ok()) {
    file = pages.status();
  } else if (!pages->valid()) {
    // Copied before its folios are given back to whoever writes to them next.
    file = CopyOutMemfd(incoming_->memory(), *image, FolioOrders(incoming_->preserved()));
  }
  const absl::Status taken = TakeFolios(image->folios);
  const absl::Status described = TakeDescription(address);
  if (!taken.ok()) return WithErrno(taken, EIO);
  if (!described.ok()) return WithErrno(described, EINVAL);
  if (pages.ok() && pages->valid()) file = Reopen(*image, pages->get());
  if (!file.ok()) return WithErrno(file.status(), EIO);
  return file;
}

void MemfdHandler::Finish(FileOpArgs& args) {
  // Retrieve has given back what it could, if it failed, too.
  if (args.retrieve_status != 0 || incoming_ == nullptr) return;
  const PhysicalAddress address(args.data);
  const absl::StatusOr<MemfdImage> image = ReadMemfd(incoming_->memory(), address);
  if (image.ok()) (void)TakeFolios(image->folios);
  (void)TakeDescription(address);
}

}  // namespace luo
