#include "luo_kernel/inspect/memory_image.h"

#include <elf.h>
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"
#include "absl/strings/string_view.h"
#include "base/status.h"

namespace luo {
namespace {

using ::vmm::ErrnoStatus;
using ::vmm::UniqueFd;

// /proc/kcore has one a piece of memory and some more; a machine of thousands of memory blocks
// still lies below.
constexpr uint64_t kMaxProgramHeaders = 1 << 16;
constexpr uint64_t kMaxNotes = 16 << 20;
constexpr uint64_t kMaxVmcoreinfo = 1 << 20;
constexpr absl::string_view kVmcoreinfoOwner = "VMCOREINFO";
// The pages in which makedumpfile writes: KDUMP_SIGNATURE and its "flattened" form.
constexpr absl::string_view kKdump = "KDUMP   ";
constexpr absl::string_view kMakedumpfile = "makedumpfile";
// Of a segment that has no physical address: Linux 7.3, fs/proc/kcore.c.
constexpr uint64_t kNoAddress = ~uint64_t{0};

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("memory image: ", what));
}

// Reads all of it or fails.
absl::Status ReadAt(int fd, uint64_t offset, absl::Span<uint8_t> out) {
  while (!out.empty()) {
    if (offset > INT64_MAX) return absl::OutOfRangeError("beyond the end of any file");
    const ssize_t size = pread(fd, out.data(), out.size(), static_cast<off_t>(offset));
    if (size < 0 && errno == EINTR) continue;
    if (size < 0) return ErrnoStatus(errno, absl::StrFormat("read at %#x", offset));
    if (size == 0) {
      return absl::OutOfRangeError(absl::StrFormat("the image ends before %#x", offset));
    }
    out.remove_prefix(size);
    offset += size;
  }
  return absl::OkStatus();
}

template <typename T>
absl::StatusOr<T> LoadAt(int fd, uint64_t offset) {
  T value;
  RETURN_IF_ERROR(
      ReadAt(fd, offset, absl::MakeSpan(reinterpret_cast<uint8_t*>(&value), sizeof(T))));
  return value;
}

absl::Status CheckHeader(const Elf64_Ehdr& header) {
  const absl::string_view start(reinterpret_cast<const char*>(header.e_ident), EI_NIDENT);
  if (start.substr(0, kKdump.size()) == kKdump ||
      start.substr(0, kMakedumpfile.size()) == kMakedumpfile) {
    return Invalid("compressed (kdump format): makedumpfile -E writes it as ELF");
  }
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return Invalid("not an ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64 || header.e_ident[EI_DATA] != ELFDATA2LSB) {
    return Invalid("an ELF file, but not of 64 bits and little-endian");
  }
  if (header.e_type != ET_CORE) return Invalid("an ELF file, but no core");
  if (header.e_phentsize != sizeof(Elf64_Phdr)) return Invalid("program headers of unknown size");
  return absl::OkStatus();
}

// The number of program headers; where it is too large for its field the first section header has
// it ("extended numbering").
absl::StatusOr<uint64_t> CountProgramHeaders(int fd, const Elf64_Ehdr& header) {
  if (header.e_phnum != PN_XNUM) return header.e_phnum;
  if (header.e_shentsize != sizeof(Elf64_Shdr)) return Invalid("section headers of unknown size");
  ASSIGN_OR_RETURN(const Elf64_Shdr section, LoadAt<Elf64_Shdr>(fd, header.e_shoff));
  return section.sh_info;
}

}  // namespace

absl::StatusOr<std::unique_ptr<MemoryImage>> MemoryImage::Open(UniqueFd fd) {
  std::unique_ptr<MemoryImage> image(new MemoryImage(std::move(fd)));
  RETURN_IF_ERROR(image->ReadHeaders());
  return image;
}

absl::Status MemoryImage::ReadHeaders() {
  struct stat status;
  if (fstat(fd_.get(), &status) < 0) return ErrnoStatus(errno, "memory image");
  // /proc/kcore tells no size that means anything.
  const bool knows_size = S_ISREG(status.st_mode) && status.st_size > 0;
  const uint64_t file_size = knows_size ? static_cast<uint64_t>(status.st_size) : INT64_MAX;

  absl::StatusOr<Elf64_Ehdr> header = LoadAt<Elf64_Ehdr>(fd_.get(), 0);
  if (absl::IsOutOfRange(header.status())) return Invalid("too short to be an ELF file");
  if (!header.ok()) return Invalid(header.status().message());
  RETURN_IF_ERROR(CheckHeader(*header));
  ASSIGN_OR_RETURN(const uint64_t count, CountProgramHeaders(fd_.get(), *header));
  if (count > kMaxProgramHeaders) return Invalid(absl::StrCat(count, " program headers"));

  std::vector<Segment> segments;
  for (uint64_t i = 0; i < count; ++i) {
    const uint64_t offset = header->e_phoff + i * sizeof(Elf64_Phdr);
    if (offset < header->e_phoff) return Invalid("program headers beyond the end of any file");
    ASSIGN_OR_RETURN(const Elf64_Phdr program, LoadAt<Elf64_Phdr>(fd_.get(), offset));
    // A dump that was cut off holds what lies before.
    if (program.p_offset >= file_size) continue;
    const uint64_t size = std::min(program.p_filesz, file_size - program.p_offset);
    if (program.p_type == PT_NOTE) ReadNotes(program.p_offset, size);
    if (program.p_type != PT_LOAD || size == 0 || program.p_paddr == kNoAddress) continue;
    if (size > UINT64_MAX - program.p_paddr) return Invalid("memory beyond the last address");
    segments.push_back({.address = program.p_paddr, .size = size, .offset = program.p_offset});
  }
  return AddSegments(std::move(segments));
}

absl::Status MemoryImage::AddSegments(std::vector<Segment> segments) {
  std::sort(segments.begin(), segments.end(),
            [](const Segment& a, const Segment& b) { return a.address < b.address; });
  for (const Segment& segment : segments) {
    if (!segments_.empty()) {
      const Segment& last = segments_.back();
      // A kernel's text is shown twice, in its own place and as part of all memory: two views of
      // the same bytes. Who says more of them counts.
      if (segment.address < last.address + last.size) {
        const uint64_t end = segment.address + segment.size;
        const uint64_t last_end = last.address + last.size;
        if (end <= last_end) continue;
        segments_.push_back({.address = last_end,
                             .size = end - last_end,
                             .offset = segment.offset + (last_end - segment.address)});
        ranges_.back().size += end - last_end;
        continue;
      }
    }
    segments_.push_back(segment);
    if (!ranges_.empty() && ranges_.back().address + ranges_.back().size == segment.address) {
      ranges_.back().size += segment.size;
    } else {
      ranges_.push_back({.address = segment.address, .size = segment.size});
    }
  }
  if (segments_.empty()) return Invalid("holds no memory");
  return absl::OkStatus();
}

// Notes are a help, not a need: what is wrong with them is passed over.
void MemoryImage::ReadNotes(uint64_t offset, uint64_t size) {
  std::vector<uint8_t> notes(std::min(size, kMaxNotes));
  if (!ReadAt(fd_.get(), offset, absl::MakeSpan(notes)).ok()) return;
  constexpr auto padded = [](uint64_t bytes) { return (bytes + 3) & ~uint64_t{3}; };
  absl::Span<const uint8_t> rest(notes);
  while (rest.size() >= sizeof(Elf64_Nhdr)) {
    Elf64_Nhdr note;
    memcpy(&note, rest.data(), sizeof(note));
    rest.remove_prefix(sizeof(note));
    const uint64_t name_size = padded(note.n_namesz);
    if (name_size > rest.size()) return;
    const absl::string_view name(reinterpret_cast<const char*>(rest.data()), note.n_namesz);
    rest.remove_prefix(name_size);
    if (note.n_descsz > rest.size()) return;
    if (name.substr(0, name.find('\0')) == kVmcoreinfoOwner && note.n_descsz <= kMaxVmcoreinfo) {
      vmcoreinfo_.assign(reinterpret_cast<const char*>(rest.data()), note.n_descsz);
      vmcoreinfo_.resize(strnlen(vmcoreinfo_.data(), vmcoreinfo_.size()));
    }
    rest.remove_prefix(std::min<uint64_t>(padded(note.n_descsz), rest.size()));
  }
}

std::string MemoryImage::kernel_release() const {
  constexpr absl::string_view kKey = "OSRELEASE=";
  for (const absl::string_view line : absl::StrSplit(vmcoreinfo_, '\n')) {
    if (absl::StartsWith(line, kKey)) return std::string(line.substr(kKey.size()));
  }
  return "";
}

absl::Status MemoryImage::Read(uint64_t address, absl::Span<uint8_t> out) const {
  auto next = std::upper_bound(
      segments_.begin(), segments_.end(), address,
      [](uint64_t wanted, const Segment& segment) { return wanted < segment.address; });
  if (next != segments_.begin()) --next;
  while (!out.empty()) {
    if (next == segments_.end() || address < next->address ||
        address - next->address >= next->size) {
      return absl::OutOfRangeError(absl::StrFormat("no memory at %#x in the image", address));
    }
    const uint64_t skip = address - next->address;
    const size_t size = std::min<uint64_t>(out.size(), next->size - skip);
    RETURN_IF_ERROR(ReadAt(fd_.get(), next->offset + skip, out.first(size)));
    out.remove_prefix(size);
    address += size;
    ++next;
  }
  return absl::OkStatus();
}

}  // namespace luo
