// Cuts out of an image of a real machine's memory what each fuzz target's decoder looks at, as
// seeds (sparse_memory.h):
//
//   cut_seeds IMAGE CORPUS NAME      writes CORPUS/kho_tree/NAME, CORPUS/luo_v5/NAME, ...
//   cut_seeds --older CORPUS         writes older_seeds.h's, CORPUS/inspect/luo_session_v1, ...
//
// IMAGE is taken when the next kernel has the handover and has not read it yet, so that all of it
// is there; of sessions with a file of 4 KiB folios in one of them. tests/fuzz/linux_seeds takes
// such an image.
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <list>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/str_cat.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/inspect/handover_reader.h"
#include "luo_kernel/inspect/memory_image.h"
#include "luo_kernel/kho/block_list.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/luo/image.h"
#include "luo_kernel/memfd/memfd_image.h"
#include "tests/fuzz/older_seeds.h"
#include "tests/fuzz/sparse_memory.h"

namespace luo {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
using Pages = std::map<uint64_t, std::vector<uint8_t>>;

// An image's memory that remembers which pages were read.
class RecordingMemory final : public PhysicalMemory, public PhysicalReader {
 public:
  explicit RecordingMemory(const MemoryImage& image) : image_(image) {}

  absl::StatusOr<absl::Span<const std::byte>> Read(PhysicalAddress address,
                                                   uint64_t size) const override {
    std::vector<uint8_t>& bytes = kept_.emplace_back(size);
    RETURN_IF_ERROR(Read(address.value(), absl::MakeSpan(bytes)));
    return absl::MakeConstSpan(reinterpret_cast<const std::byte*>(bytes.data()), size);
  }
  bool Contains(PhysicalAddress address, uint64_t size) const override {
    return image_.Has(address.value(), size);
  }
  uint64_t size() const override {
    uint64_t bytes = 0;
    for (const MemoryRange& range : image_.ranges()) bytes += range.size;
    return bytes;
  }

  const std::vector<MemoryRange>& ranges() const override { return image_.ranges(); }
  absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const override {
    RETURN_IF_ERROR(image_.Read(address, out));
    for (uint64_t page = address & -kPage; page < address + out.size(); page += kPage) {
      std::vector<uint8_t>& bytes = pages_[page];
      if (!bytes.empty()) continue;
      bytes.resize(kPage);
      RETURN_IF_ERROR(image_.Read(page, absl::MakeSpan(bytes)));
    }
    return absl::OkStatus();
  }

  // What was read since the last time.
  Pages TakePages() const { return std::exchange(pages_, {}); }

 private:
  const MemoryImage& image_;
  mutable Pages pages_;
  mutable std::list<std::vector<uint8_t>> kept_;  // behind the spans
};

// What the next kernel was told: the only thing that points to the root and is followed by a sound
// list of scratch regions.
absl::StatusOr<abi::KhoData> FindKhoData(const MemoryImage& image, uint64_t root) {
  std::optional<abi::KhoData> found;
  image.ForEachPage([&](uint64_t, absl::Span<const uint8_t> page) {
    for (uint64_t at = 0; at + sizeof(abi::KhoData) <= kPage; at += sizeof(uint64_t)) {
      abi::KhoData data;
      memcpy(&data, page.data() + at, sizeof(data));
      if (data.root_address != root || data.root_size != abi::kKhoRootSize) continue;
      Problems problems;
      ReadScratch(image, data.scratch_address, data.scratch_size, problems);
      if (problems.empty()) found = data;
    }
  });
  if (!found.has_value()) return absl::NotFoundError("nothing tells a kernel of the handover");
  return *found;
}

// The one with the most folios, none of them huge.
absl::StatusOr<uint64_t> ChooseMemfd(const LuoReport& luo) {
  uint64_t most = 0, address = 0;
  for (const SessionReport& session : luo.sessions) {
    for (const FileReport& file : session.files) {
      if (!file.memfd.has_value() || file.memfd->folio_count <= most) continue;
      const auto folios = file.memfd->FoliosBySize();
      if (folios.size() != 1 || folios.begin()->first != kPage) continue;
      most = file.memfd->folio_count;
      address = file.memfd->address;
    }
  }
  if (address == 0) return absl::NotFoundError("no file of 4 KiB folios");
  return address;
}

absl::Status WriteSeed(const std::string& path, const std::vector<uint8_t>& bytes) {
  std::ofstream file(path, std::ios::binary);
  file.write(reinterpret_cast<const char*>(bytes.data()), static_cast<ssize_t>(bytes.size()));
  file.close();
  if (!file) return absl::UnavailableError(path + " cannot be written");
  printf("%s: %zu bytes\n", path.c_str(), bytes.size());
  return absl::OkStatus();
}

absl::Status WriteOlderSeeds(const std::string& corpus) {
  for (const auto& [name, seed] : OlderSeeds()) {
    RETURN_IF_ERROR(WriteSeed(absl::StrCat(corpus, "/inspect/", name), seed));
  }
  return absl::OkStatus();
}

class Cutter {
 public:
  Cutter(const MemoryImage& image, const SparseMemory::Begin& begin, std::string corpus,
         std::string name)
      : memory_(image), begin_(begin), corpus_(std::move(corpus)), name_(std::move(name)) {}

  // Each `decode` has to succeed, on the image and on what is cut out of it.
  absl::Status Cut(const std::string& target,
                   const std::function<absl::Status(const PhysicalMemory& memory,
                                                    const PhysicalReader& reader)>& decode) {
    memory_.TakePages();
    RETURN_IF_ERROR(vmm::Annotate(decode(memory_, memory_), target));
    const std::vector<uint8_t> seed =
        SparseMemory::Format(begin_, memory_.ranges(), memory_.TakePages());
    ASSIGN_OR_RETURN(const SparseMemory again, SparseMemory::Parse(seed));
    RETURN_IF_ERROR(vmm::Annotate(decode(again, again), target + ", cut out"));
    return Write(target, seed);
  }

  absl::Status CutImage(const std::string& image_path,
                        const std::function<absl::Status(const PhysicalMemory& memory)>& decode) {
    memory_.TakePages();
    RETURN_IF_ERROR(decode(memory_));
    return Write("memory_image", AsElfCore(image_path, memory_.TakePages()));
  }

 private:
  absl::Status Write(const std::string& target, const std::vector<uint8_t>& bytes) const {
    return WriteSeed(absl::StrCat(corpus_, "/", target, "/", name_), bytes);
  }

  // The image's own header, with the pages as its only memory.
  static std::vector<uint8_t> AsElfCore(const std::string& image_path, const Pages& pages) {
    std::vector<MemoryRange> runs;
    for (const auto& [address, bytes] : pages) {
      if (!runs.empty() && runs.back().address + runs.back().size == address) {
        runs.back().size += kPage;
      } else {
        runs.push_back({address, kPage});
      }
    }
    Elf64_Ehdr header = {};
    std::ifstream(image_path, std::ios::binary)
        .read(reinterpret_cast<char*>(&header), sizeof(header));
    header.e_phoff = sizeof(header);
    header.e_phnum = static_cast<Elf64_Half>(runs.size());
    header.e_shnum = 0;
    header.e_shoff = 0;
    std::vector<uint8_t> file;
    const auto put = [&file](const void* data, size_t size) {
      const auto* bytes = static_cast<const uint8_t*>(data);
      file.insert(file.end(), bytes, bytes + size);
    };
    put(&header, sizeof(header));
    uint64_t offset = sizeof(header) + runs.size() * sizeof(Elf64_Phdr);
    for (const MemoryRange& run : runs) {
      const Elf64_Phdr program = {.p_type = PT_LOAD,
                                  .p_offset = offset,
                                  .p_paddr = run.address,
                                  .p_filesz = run.size,
                                  .p_memsz = run.size};
      put(&program, sizeof(program));
      offset += run.size;
    }
    for (const auto& [address, bytes] : pages) put(bytes.data(), bytes.size());
    return file;
  }

  RecordingMemory memory_;
  const SparseMemory::Begin begin_;
  const std::string corpus_, name_;
};

absl::Status CutSeeds(const std::string& path, const std::string& corpus, const std::string& name) {
  vmm::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return vmm::ErrnoStatus(errno, path);
  ASSIGN_OR_RETURN(const std::unique_ptr<MemoryImage> image, MemoryImage::Open(std::move(fd)));
  const Report report = ReadHandovers(*image, path, std::nullopt);
  const auto whole = std::find_if(
      report.handovers.begin(), report.handovers.end(), [](const HandoverReport& handover) {
        return handover.luo.has_value() && !handover.luo->sessions.empty();
      });
  if (whole == report.handovers.end()) return absl::NotFoundError("no handover with sessions");

  SparseMemory::Begin begin = {};
  ASSIGN_OR_RETURN(begin.handover, FindKhoData(*image, whole->address));
  ASSIGN_OR_RETURN(begin.memfd, ChooseMemfd(*whole->luo));
  begin.blocks = whole->luo->sessions_address;
  begin.entry_size = sizeof(abi::LuoSessionSer);
  Cutter cutter(*image, begin, corpus, name);
  const PhysicalAddress memfd(begin.memfd);
  const auto copy_out = [&](const PhysicalMemory& memory) -> absl::Status {
    ASSIGN_OR_RETURN(const auto handover, IncomingHandover::Open(memory, begin.handover));
    ASSIGN_OR_RETURN(const MemfdImage file, ReadMemfd(memory, memfd));
    return CopyOutMemfd(memory, file, FolioOrders(handover.preserved())).status();
  };
  const auto inspect = [&](const PhysicalReader& reader) {
    const HandoverReport found = ReadHandover(reader, whole->address, "");
    return found.problems.empty() ? absl::OkStatus()
                                  : absl::DataLossError(found.problems.kept().front());
  };
  RETURN_IF_ERROR(cutter.Cut("kho_tree", [&](const PhysicalMemory& memory, const PhysicalReader&) {
    RETURN_IF_ERROR(IncomingHandover::Open(memory, begin.handover).status());
    ASSIGN_OR_RETURN(const auto ser, ReadStruct<abi::MemfdSer>(memory, memfd));
    return ReadVmallocArea(memory, ser.folios).status();
  }));
  RETURN_IF_ERROR(cutter.Cut("luo_v5", [&](const PhysicalMemory& memory, const PhysicalReader&) {
    ASSIGN_OR_RETURN(const auto handover, IncomingHandover::Open(memory, begin.handover));
    ASSIGN_OR_RETURN(const Subtree luo, handover.FindSubtree(abi::kLuoSubtree));
    return ReadLuo(memory, luo.address, luo.size).status();
  }));
  RETURN_IF_ERROR(cutter.Cut("memfd_v2", [&](const PhysicalMemory& memory, const PhysicalReader&) {
    return copy_out(memory);
  }));
  RETURN_IF_ERROR(
      cutter.Cut("block_list", [&](const PhysicalMemory& memory, const PhysicalReader&) {
        return ReadBlockList(memory, PhysicalAddress(begin.blocks), begin.entry_size).status();
      }));
  RETURN_IF_ERROR(cutter.Cut("inspect", [&](const PhysicalMemory&, const PhysicalReader& reader) {
    return inspect(reader);
  }));
  return cutter.CutImage(path, [&](const PhysicalMemory& memory) {
    RETURN_IF_ERROR(copy_out(memory));
    return inspect(dynamic_cast<const PhysicalReader&>(memory));
  });
}

}  // namespace
}  // namespace luo

int main(int argc, char** argv) {
  const bool older = argc == 3 && std::string(argv[1]) == "--older";
  if (argc != 4 && !older) {
    fprintf(stderr, "usage: cut_seeds IMAGE CORPUS NAME | --older CORPUS\n");
    return 2;
  }
  const absl::Status status =
      older ? luo::WriteOlderSeeds(argv[2]) : luo::CutSeeds(argv[1], argv[2], argv[3]);
  if (status.ok()) return 0;
  fprintf(stderr, "cut_seeds: %s\n", std::string(status.message()).c_str());
  return 1;
}
