#include "luo_kernel/memfd/memfd_image.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <bit>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "luo_kernel/kho/arena.h"

#ifndef F_SEAL_EXEC
#define F_SEAL_EXEC 0x0020
#endif

namespace luo {
namespace {

constexpr uint64_t PagesOf(uint64_t bytes) {
  return bytes / abi::kPageSize + (bytes % abi::kPageSize != 0);
}

absl::Status WriteAll(int fd, absl::Span<const std::byte> bytes, uint64_t offset) {
  while (!bytes.empty()) {
    const ssize_t written = pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return vmm::ErrnoStatus(written < 0 ? errno : EIO, "write a memfd");
    bytes.remove_prefix(static_cast<size_t>(written));
    offset += static_cast<uint64_t>(written);
  }
  return absl::OkStatus();
}

// In one piece where the memory has it so, else page by page.
absl::Status CopyFolio(const PhysicalMemory& memory, PhysicalAddress address, uint64_t size, int fd,
                       uint64_t offset) {
  const auto whole = memory.Read(address, size);
  if (whole.ok()) return WriteAll(fd, *whole, offset);
  for (uint64_t done = 0; done < size; done += abi::kPageSize) {
    const PhysicalAddress at(address.value() + done);
    ASSIGN_OR_RETURN(const auto bytes, memory.Read(at, std::min(abi::kPageSize, size - done)));
    RETURN_IF_ERROR(WriteAll(fd, bytes, offset + done));
  }
  return absl::OkStatus();
}

absl::Status AddSeals(int fd, uint32_t seals) {
  if (seals == 0 || fcntl(fd, F_ADD_SEALS, seals) == 0) return absl::OkStatus();
  // Linux before 6.3 does not know this one.
  if (errno == EINVAL && (seals & F_SEAL_EXEC) != 0 &&
      fcntl(fd, F_ADD_SEALS, seals & ~F_SEAL_EXEC) == 0) {
    return absl::OkStatus();
  }
  return vmm::ErrnoStatus(errno, "seal a memfd");
}

// What was taken of the outgoing handover, to be given back unless all goes well.
class Taken {
 public:
  explicit Taken(OutgoingHandover* outgoing) : outgoing_(outgoing) {}
  Taken(const Taken&) = delete;
  Taken& operator=(const Taken&) = delete;
  ~Taken() {
    for (const abi::RadixEntry& block : blocks_) {
      const PhysicalAddress address(block.address);
      if (outgoing_->IsPreserved(address, block.order)) {
        (void)outgoing_->UnpreserveFolio(address, block.order);
      }
      (void)outgoing_->arena().Free(address, block.order);
    }
  }

  absl::StatusOr<PhysicalAddress> Allocate(unsigned order) {
    ASSIGN_OR_RETURN(const PhysicalAddress address, outgoing_->arena().Allocate(order));
    blocks_.push_back({address.value(), order});
    return address;
  }
  void Keep() { blocks_.clear(); }

 private:
  OutgoingHandover* const outgoing_;
  std::vector<abi::RadixEntry> blocks_;
};

}  // namespace

absl::StatusOr<MemfdImage> ReadMemfd(const PhysicalMemory& memory, PhysicalAddress address) {
  ASSIGN_OR_RETURN(const auto ser, ReadStruct<abi::MemfdSer>(memory, address));
  if ((ser.seals & ~abi::kMemfdSeals) != 0 || ser.flags != 0) {
    return vmm::ErrnoStatus(
        EOPNOTSUPP, absl::StrFormat("a memfd with seals %#x and flags %#x", ser.seals, ser.flags));
  }
  MemfdImage image;
  image.position = ser.pos;
  image.size = ser.size;
  image.seals = ser.seals;
  if (ser.nr_folios == 0) return image;
  ASSIGN_OR_RETURN(image.array, ReadVmallocArea(memory, ser.folios));
  constexpr uint64_t kPerPage = abi::kPageSize / sizeof(abi::MemfdFolioSer);
  if (ser.nr_folios > image.array.pages() * kPerPage) {
    return absl::DataLossError(
        absl::StrCat(ser.nr_folios, " folios are not listed in ", image.array.pages(), " pages"));
  }
  std::vector<abi::MemfdFolioSer> page(kPerPage);
  for (uint64_t i = 0; i < ser.nr_folios; ++i) {
    if (i % kPerPage == 0) {
      RETURN_IF_ERROR(ReadVmallocBytes(
          memory, image.array, i * sizeof(abi::MemfdFolioSer),
          absl::MakeSpan(reinterpret_cast<std::byte*>(page.data()),
                         std::min(kPerPage, ser.nr_folios - i) * sizeof(abi::MemfdFolioSer))));
    }
    const abi::MemfdFolioSer& entry = page[i % kPerPage];
    // Linux takes page frame 0 for no folio.
    if (entry.frame() == 0) continue;
    const PhysicalAddress at(entry.frame() << abi::kPageShift);
    if (!memory.Contains(at, abi::kPageSize)) {
      return absl::OutOfRangeError(absl::StrCat("a folio at ", ToString(at)));
    }
    if (entry.index >= PagesOf(ser.size)) {
      return absl::DataLossError(
          absl::StrCat("a folio at page ", entry.index, " of a file of ", PagesOf(ser.size)));
    }
    image.folios.push_back({at, entry.flags(), entry.index});
  }
  std::sort(image.folios.begin(), image.folios.end(),
            [](const FolioImage& a, const FolioImage& b) { return a.index < b.index; });
  for (size_t i = 1; i < image.folios.size(); ++i) {
    if (image.folios[i].index == image.folios[i - 1].index) {
      return absl::DataLossError(absl::StrCat("two folios at page ", image.folios[i].index));
    }
  }
  return image;
}

FolioOrder FolioOrders(const PreservedMap& map) {
  return [&map](PhysicalAddress address) { return map.OrderAt(address); };
}

absl::StatusOr<vmm::UniqueFd> CopyOutMemfd(const PhysicalMemory& memory, const MemfdImage& image,
                                           const FolioOrder& order, bool seal) {
  vmm::UniqueFd fd(memfd_create("", MFD_CLOEXEC | MFD_ALLOW_SEALING));
  if (!fd.valid()) return vmm::ErrnoStatus(errno, "memfd_create");
  if (image.size > static_cast<uint64_t>(INT64_MAX)) return vmm::ErrnoStatus(EFBIG, "a memfd");
  if (ftruncate(fd.get(), static_cast<off_t>(image.size)) < 0) {
    return vmm::ErrnoStatus(errno, absl::StrCat("a memfd of ", image.size, " bytes"));
  }
  // A folio in two places would let a small memory fill a large file.
  absl::flat_hash_set<uint64_t> seen;
  uint64_t next_index = 0;
  for (const FolioImage& folio : image.folios) {
    ASSIGN_OR_RETURN(const unsigned folio_order, order(folio.address));
    if (folio_order > abi::kMaxRadixOrder) return absl::DataLossError("a folio of no such order");
    const uint64_t bytes = BytesOfOrder(folio_order);
    if (folio.address.value() % bytes != 0 || folio.index < next_index ||
        !seen.insert(folio.address.value()).second) {
      return absl::DataLossError(
          absl::StrCat("the folio at ", ToString(folio.address), " does not fit in its place"));
    }
    next_index = folio.index + (bytes >> abi::kPageShift);
    const uint64_t offset = folio.index << abi::kPageShift;
    if ((offset >> abi::kPageShift) != folio.index || offset >= image.size) {
      return absl::DataLossError(absl::StrCat("a folio at page ", folio.index));
    }
    // It was never used: what lies in it is not the file's.
    if ((folio.flags & abi::kFolioUptodate) == 0) continue;
    RETURN_IF_ERROR(
        CopyFolio(memory, folio.address, std::min(bytes, image.size - offset), fd.get(), offset));
  }
  // Linux ignores a position that no file can have.
  (void)!lseek(fd.get(), static_cast<off_t>(image.position), SEEK_SET);
  if (seal) RETURN_IF_ERROR(AddSeals(fd.get(), image.seals));
  return fd;
}

MemfdContents ContentsOf(absl::Span<const std::byte> bytes) {
  MemfdContents contents;
  contents.size = bytes.size();
  contents.read = [bytes](uint64_t offset, absl::Span<std::byte> out) {
    memcpy(out.data(), bytes.data() + offset, out.size());
    return absl::OkStatus();
  };
  return contents;
}

absl::StatusOr<PhysicalAddress> WriteMemfdSer(OutgoingHandover& outgoing, uint64_t position,
                                              uint64_t size, uint32_t seals,
                                              const std::vector<FolioImage>& folios) {
  abi::MemfdSer ser = {};
  ser.pos = position;
  ser.size = size;
  ser.seals = seals;
  ser.nr_folios = folios.size();
  constexpr size_t kPerPage = abi::kPageSize / sizeof(abi::MemfdFolioSer);
  Taken taken(&outgoing);
  std::vector<PhysicalAddress> blocks;
  for (size_t i = 0; i < folios.size(); i += kPerPage) {
    ASSIGN_OR_RETURN(const PhysicalAddress block, taken.Allocate(0));
    ASSIGN_OR_RETURN(const absl::Span<std::byte> bytes,
                     outgoing.memory().Write(block, abi::kPageSize));
    for (size_t j = i; j < std::min(i + kPerPage, folios.size()); ++j) {
      abi::MemfdFolioSer entry;
      entry.Set(folios[j].address.frame(), folios[j].flags, folios[j].index);
      memcpy(bytes.data() + (j - i) * sizeof(entry), &entry, sizeof(entry));
    }
    blocks.push_back(block);
  }
  if (!blocks.empty()) {
    ASSIGN_OR_RETURN(ser.folios, outgoing.PreserveVmalloc(blocks, 0, abi::kVmallocAlloc));
  }
  absl::StatusOr<PhysicalAddress> address = outgoing.AllocatePreserved(sizeof(ser));
  if (address.ok()) {
    if (absl::Status status = WriteStruct(outgoing.memory(), *address, ser); !status.ok()) {
      (void)outgoing.FreePreserved(*address, sizeof(ser));
      address = std::move(status);
    }
  }
  if (!address.ok()) {
    if (!blocks.empty()) (void)outgoing.UnpreserveVmalloc(ser.folios);
    return address.status();
  }
  taken.Keep();
  return address;
}

absl::Status FreeMemfdSer(OutgoingHandover& outgoing, PhysicalAddress address) {
  ASSIGN_OR_RETURN(const auto ser, ReadStruct<abi::MemfdSer>(outgoing.memory(), address));
  if (ser.nr_folios > 0) {
    ASSIGN_OR_RETURN(const VmallocArea area, ReadVmallocArea(outgoing.memory(), ser.folios));
    RETURN_IF_ERROR(outgoing.UnpreserveVmalloc(ser.folios));
    for (const PhysicalAddress block : area.blocks) {
      RETURN_IF_ERROR(outgoing.arena().Free(block, area.order));
    }
  }
  return outgoing.FreePreserved(address, sizeof(ser));
}

absl::StatusOr<PhysicalAddress> WriteMemfd(OutgoingHandover& outgoing,
                                           const MemfdContents& contents) {
  if (contents.max_order > Arena::kMaxOrder) {
    return absl::InvalidArgumentError(absl::StrCat("folios of order ", contents.max_order));
  }
  if ((contents.seals & ~abi::kMemfdSeals) != 0) {
    return vmm::ErrnoStatus(EOPNOTSUPP, absl::StrFormat("seals %#x", contents.seals));
  }
  const uint64_t pages = PagesOf(contents.size);
  if (pages > abi::kMaxMemfdPages) return vmm::ErrnoStatus(EFBIG, "a memfd");
  Taken taken(&outgoing);
  std::vector<FolioImage> folios;
  // Where the arena has no such large block, the next ones will not be there either.
  unsigned max_order = contents.max_order;
  for (uint64_t index = 0; index < pages;) {
    unsigned order = std::min<unsigned>(max_order, std::bit_width(pages - index) - 1);
    if (index != 0) order = std::min<unsigned>(order, std::countr_zero(index));
    absl::StatusOr<PhysicalAddress> folio = taken.Allocate(order);
    while (absl::IsResourceExhausted(folio.status()) && order > 0) {
      max_order = --order;
      folio = taken.Allocate(order);
    }
    RETURN_IF_ERROR(folio.status());
    const uint64_t offset = index << abi::kPageShift;
    ASSIGN_OR_RETURN(const absl::Span<std::byte> bytes,
                     outgoing.memory().Write(*folio, BytesOfOrder(order)));
    RETURN_IF_ERROR(contents.read(
        offset, bytes.first(std::min<uint64_t>(bytes.size(), contents.size - offset))));
    RETURN_IF_ERROR(outgoing.PreserveFolio(*folio, order));
    folios.push_back({*folio, abi::kFolioDirty | abi::kFolioUptodate, index});
    index += uint64_t{1} << order;
  }
  ASSIGN_OR_RETURN(
      const PhysicalAddress address,
      WriteMemfdSer(outgoing, contents.position, contents.size, contents.seals, folios));
  taken.Keep();
  return address;
}

}  // namespace luo
