#include "luo_kernel/inspect/memfd_reader.h"

#include <algorithm>
#include <array>
#include <bit>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/abi/memfd_v2.h"

namespace luo {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
constexpr uint64_t kFoliosPerPage = kPage / sizeof(abi::MemfdFolioSer);
constexpr uint64_t kMaxListPages = (abi::kMaxMemfdPages + kFoliosPerPage - 1) / kFoliosPerPage;
using FolioPage = std::array<abi::MemfdFolioSer, kFoliosPerPage>;

// How often each thing is wrong with a file's folios: a line each, however many folios there are.
struct FolioFaults {
  uint64_t not_memory = 0;
  uint64_t not_preserved = 0;
  uint64_t unordered = 0;
  uint64_t beyond_end = 0;
  uint64_t unknown_flags = 0;
  uint64_t not_up_to_date = 0;

  void Tell(const std::string& what, Problems& problems) const {
    const auto tell = [&](uint64_t count, absl::string_view fault) {
      if (count != 0) problems.Add(absl::StrCat(what, ": ", count, " folios ", fault));
    };
    tell(not_memory, "are not in memory");
    tell(not_preserved, "are not preserved");
    tell(unordered, "are out of order or overlap in the file");
    tell(beyond_end, "lie beyond the file's end");
    tell(unknown_flags, "have flags that memfd-v2 does not know");
    tell(not_up_to_date, "are not up to date: their contents are not the file's");
  }
};

class MemfdReader {
 public:
  MemfdReader(Inspection& inspection, const std::string& what)
      : inspection_(inspection), memory_(inspection.memory()), what_(what) {}

  std::optional<MemfdReport> Read(uint64_t address) {
    if (!inspection_.Claim(address, sizeof(abi::MemfdSer), what_)) return std::nullopt;
    const absl::StatusOr<abi::MemfdSer> ser = memory_.Load<abi::MemfdSer>(address);
    if (!ser.ok()) {
      Problem(absl::StrFormat("its structure at %#x cannot be read", address));
      return std::nullopt;
    }
    memfd_.address = address;
    memfd_.metadata_bytes = kPage;
    memfd_.size = ser->size;
    memfd_.position = ser->pos;
    memfd_.seals = ser->seals;
    memfd_.flags = ser->flags;
    memfd_.folio_count = ser->nr_folios;
    if ((ser->seals & ~abi::kMemfdSeals) != 0) {
      Problem(
          absl::StrFormat("seals %#x, of which memfd-v2 knows %#x", ser->seals, abi::kMemfdSeals));
    }
    if (ser->flags != 0) Problem(absl::StrFormat("flags %#x, of which none is known", ser->flags));
    file_pages_ = ser->size / kPage + (ser->size % kPage != 0 ? 1 : 0);
    if (ser->nr_folios > file_pages_) {
      Problem(absl::StrCat(ser->nr_folios, " folios for ", ser->size, " bytes"));
    }
    if (ser->nr_folios != 0) ReadFolios(ser->folios, ser->nr_folios);
    return std::move(memfd_);
  }

 private:
  void Problem(absl::string_view problem) {
    inspection_.problems().Add(absl::StrCat(what_, ": ", problem));
  }

  // The pages of the area, in order; stops where it makes no sense.
  std::vector<uint64_t> ReadArea(const abi::Vmalloc& area) {
    std::vector<uint64_t> pages;
    if ((area.flags & ~abi::kVmallocKnownFlags) != 0) {
      Problem(absl::StrFormat("its folio list has flags %#x, of which %#x are known", area.flags,
                              abi::kVmallocKnownFlags));
    }
    if (area.order > kMaxAreaOrder) {
      Problem(absl::StrCat("its folio list is in blocks of order ", area.order));
      return pages;
    }
    if (area.total_pages > kMaxListPages) {
      Problem(absl::StrCat("its folio list is of ", area.total_pages,
                           " pages, and no file needs more than ", kMaxListPages));
      return pages;
    }
    const uint64_t block_pages = uint64_t{1} << area.order;
    for (uint64_t next = area.first; next != 0;) {
      const std::string list = what_ + ", list of the folio list's pages";
      if (!inspection_.Claim(next, kPage, list)) break;
      memfd_.metadata_bytes += kPage;
      const absl::StatusOr<abi::VmallocChunk> chunk = memory_.Load<abi::VmallocChunk>(next);
      if (!chunk.ok()) {
        Problem(absl::StrFormat("its folio list's page at %#x cannot be read", next));
        break;
      }
      for (const uint64_t address : chunk->addresses) {
        if (address == 0) break;
        if (pages.size() + block_pages > area.total_pages) {
          Problem(absl::StrCat("its folio list has more than the ", area.total_pages,
                               " pages it should"));
          return pages;
        }
        if (!inspection_.Claim(address, block_pages * kPage, what_ + ", folio list")) return pages;
        memfd_.metadata_bytes += block_pages * kPage;
        for (uint64_t i = 0; i < block_pages; ++i) pages.push_back(address + i * kPage);
      }
      next = chunk->next;
    }
    if (pages.size() != area.total_pages) {
      Problem(
          absl::StrCat("its folio list has ", pages.size(), " of ", area.total_pages, " pages"));
    }
    return pages;
  }

  void ReadFolios(const abi::Vmalloc& area, uint64_t count) {
    const std::vector<uint64_t> pages = ReadArea(area);
    if (count > pages.size() * kFoliosPerPage) {
      Problem(absl::StrCat("its folio list has room for ", pages.size() * kFoliosPerPage, " of ",
                           count, " folios"));
      count = pages.size() * kFoliosPerPage;
    }
    inspection_.BeginOwner(what_ + ", contents");
    FolioFaults faults;
    std::optional<abi::MemfdFolioSer> last;
    for (const uint64_t page : pages) {
      if (count == 0) break;
      const absl::StatusOr<FolioPage> folios = memory_.Load<FolioPage>(page);
      if (!folios.ok()) {
        Problem(absl::StrFormat("its folio list's page at %#x cannot be read", page));
        break;
      }
      for (uint64_t i = 0; i < kFoliosPerPage && count > 0; ++i, --count) {
        // The next one's place may tell the size of the one before.
        if (last.has_value()) TakeFolio(*last, (*folios)[i].index, faults);
        last = (*folios)[i];
      }
    }
    if (last.has_value()) TakeFolio(*last, file_pages_, faults);
    faults.Tell(what_, inspection_.problems());
  }

  // The size of a folio is said nowhere but in the map of what is preserved. Where that is lost it
  // reaches to the next folio of the file: `end` in pages, which is the file's end for the last.
  uint64_t FolioBytes(const abi::MemfdFolioSer& folio, uint64_t end, FolioFaults& faults) const {
    if (inspection_.preserved() == nullptr) {
      const uint64_t pages = end > folio.index ? end - folio.index : 1;
      const uint64_t most = uint64_t{1} << kMaxAreaOrder;
      return kPage * std::bit_ceil(std::min(pages, most));
    }
    const std::optional<uint32_t> order = inspection_.preserved()->OrderAt(folio.frame() * kPage);
    if (!order.has_value()) ++faults.not_preserved;
    return kPage << order.value_or(0);
  }

  void TakeFolio(const abi::MemfdFolioSer& folio, uint64_t end, FolioFaults& faults) {
    if (folio.frame() == 0) return;  // A hole: the kernel passes over it.
    if ((folio.flags() & ~abi::kFolioKnownFlags) != 0) ++faults.unknown_flags;
    if ((folio.flags() & abi::kFolioUptodate) == 0) ++faults.not_up_to_date;
    const uint64_t address = folio.frame() * kPage;
    const uint64_t bytes = FolioBytes(folio, end, faults);
    if (!memory_.Has(address, bytes)) {
      ++faults.not_memory;
      return;
    }
    if (folio.index < next_index_) ++faults.unordered;
    if (folio.index >= file_pages_) ++faults.beyond_end;
    if (folio.index > UINT64_MAX / kPage - bytes / kPage) return;
    next_index_ = folio.index + bytes / kPage;
    inspection_.ClaimContents(address, bytes);

    if (!memfd_.folios.empty()) {
      FolioRun& last = memfd_.folios.back();
      if (last.folio_bytes == bytes && last.address + last.size() == address &&
          last.index + last.size() / kPage == folio.index) {
        ++last.count;
        return;
      }
    }
    memfd_.folios.push_back(
        {.address = address, .index = folio.index, .folio_bytes = bytes, .count = 1});
  }

  // MAX_PAGE_ORDER of no kernel lies above: Linux 7.3, arch/*/Kconfig, ARCH_FORCE_MAX_ORDER.
  static constexpr unsigned kMaxAreaOrder = 20;

  Inspection& inspection_;
  const PhysicalReader& memory_;
  const std::string& what_;
  MemfdReport memfd_;
  uint64_t file_pages_ = 0;
  uint64_t next_index_ = 0;
};

// Whether nothing speaks against a memfd's structure at `address`.
bool MayBeMemfd(const Inspection& inspection, uint64_t address) {
  const PhysicalReader& memory = inspection.memory();
  const absl::StatusOr<abi::MemfdSer> ser = memory.Load<abi::MemfdSer>(address);
  if (!ser.ok() || ser->nr_folios == 0 || ser->flags != 0 ||
      (ser->seals & ~abi::kMemfdSeals) != 0) {
    return false;
  }
  const uint64_t file_pages = ser->size / kPage + (ser->size % kPage != 0 ? 1 : 0);
  const abi::Vmalloc& area = ser->folios;
  if (ser->nr_folios > file_pages || file_pages > abi::kMaxMemfdPages ||
      area.total_pages != (ser->nr_folios + kFoliosPerPage - 1) / kFoliosPerPage ||
      (area.flags & ~abi::kVmallocKnownFlags) != 0 || area.first % kPage != 0 ||
      !inspection.preserved()->Covers(area.first, kPage)) {
    return false;
  }
  const absl::StatusOr<abi::VmallocChunk> chunk = memory.Load<abi::VmallocChunk>(area.first);
  if (!chunk.ok() || chunk->addresses[0] == 0 || chunk->addresses[0] % kPage != 0 ||
      !inspection.preserved()->Covers(chunk->addresses[0], kPage)) {
    return false;
  }
  const auto folio = memory.Load<abi::MemfdFolioSer>(chunk->addresses[0]);
  if (!folio.ok() || (folio->flags() & ~abi::kFolioKnownFlags) != 0 ||
      !inspection.preserved()->OrderAt(folio->frame() * kPage).has_value()) {
    return false;
  }
  // The kernel gives the structure a page of its own, of zeros.
  std::vector<uint8_t> page(kPage);
  if (!memory.Read(address, absl::MakeSpan(page)).ok()) return false;
  return std::all_of(page.begin() + sizeof(*ser), page.end(),
                     [](uint8_t byte) { return byte == 0; });
}

}  // namespace

std::vector<MemfdReport> FindMemfds(Inspection& inspection) {
  std::vector<MemfdReport> found;
  for (const PreservedRun& run : inspection.preserved()->runs()) {
    if (run.order != 0) continue;
    for (uint64_t i = 0; i < run.count; ++i) {
      const uint64_t address = run.address + i * kPage;
      if (inspection.IsMetadata(address) || !MayBeMemfd(inspection, address)) continue;
      std::optional<MemfdReport> memfd =
          InspectMemfd(inspection, absl::StrFormat("memfd at %#x", address), address);
      if (memfd.has_value()) found.push_back(*std::move(memfd));
    }
  }
  return found;
}

std::optional<MemfdReport> InspectMemfd(Inspection& inspection, const std::string& what,
                                        uint64_t address) {
  return MemfdReader(inspection, what).Read(address);
}

}  // namespace luo
