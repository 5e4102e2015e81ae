#include "vmm/boot/elf_kernel.h"

#include <elf.h>
#include <string.h>

#include <algorithm>
#include <optional>

#include "absl/strings/str_format.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "vmm/boot/platform.h"

namespace vmm {
namespace {

constexpr uint32_t kPhys32Entry = 18;  // XEN_ELFNOTE_PHYS32_ENTRY
constexpr uint8_t kXenOwner[] = {'X', 'e', 'n', 0};

absl::Status Invalid(absl::string_view what) {
  return absl::InvalidArgumentError(absl::StrCat("ELF kernel: ", what));
}

template <typename T>
absl::Status ReadArray(const ByteSource& source, uint64_t offset, absl::Span<T> out) {
  return source.Read(
      offset, absl::MakeSpan(reinterpret_cast<uint8_t*>(out.data()), out.size() * sizeof(T)));
}

absl::StatusOr<std::vector<Elf64_Phdr>> ReadProgramHeaders(const ByteSource& source) {
  Elf64_Ehdr header;
  // The identification first: a 32-bit file may be shorter than the 64-bit header.
  if (!ReadArray(source, 0, absl::MakeSpan(header.e_ident)).ok()) return Invalid("truncated");
  if (memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return Invalid("not an ELF file");
  if (header.e_ident[EI_CLASS] != ELFCLASS64) return Invalid("a 32-bit file");
  if (header.e_ident[EI_DATA] != ELFDATA2LSB) return Invalid("a big-endian file");
  if (!ReadArray(source, 0, absl::MakeSpan(&header, 1)).ok()) return Invalid("truncated");
  if (header.e_machine != EM_X86_64) {
    return Invalid(absl::StrFormat("for machine %d, not x86-64", header.e_machine));
  }
  if (header.e_phentsize != sizeof(Elf64_Phdr) || header.e_phnum == 0) {
    return Invalid("no program headers: an object file?");
  }
  if (header.e_phnum > kMaxProgramHeaders) {
    return Invalid(absl::StrFormat("%d program headers; at most %d are accepted", header.e_phnum,
                                   kMaxProgramHeaders));
  }
  std::vector<Elf64_Phdr> headers(header.e_phnum);
  if (!ReadArray(source, header.e_phoff, absl::MakeSpan(headers)).ok()) {
    return Invalid("truncated: the program headers lie beyond the file's end");
  }
  return headers;
}

absl::StatusOr<ElfSegment> ToSegment(const Elf64_Phdr& header, uint64_t file_size) {
  if (header.p_filesz > header.p_memsz) {
    return Invalid("a segment takes more of the file than of memory");
  }
  if (header.p_offset > file_size || header.p_filesz > file_size - header.p_offset) {
    return Invalid("truncated: a segment lies beyond the file's end");
  }
  if (header.p_paddr < kHighRamStart.value() || header.p_paddr >= kPciHoleStart ||
      header.p_memsz > kPciHoleStart - header.p_paddr) {
    return Invalid(
        absl::StrFormat("a segment wants %#x bytes at %#x, outside a PC's RAM from 1 MiB on",
                        header.p_memsz, header.p_paddr));
  }
  return ElfSegment{.range = {GuestAddress(header.p_paddr), header.p_memsz},
                    .file_offset = header.p_offset,
                    .file_size = header.p_filesz};
}

absl::StatusOr<std::vector<ElfSegment>> Segments(const std::vector<Elf64_Phdr>& headers,
                                                 uint64_t file_size) {
  std::vector<ElfSegment> segments;
  for (const Elf64_Phdr& header : headers) {
    if (header.p_type != PT_LOAD || header.p_memsz == 0) continue;
    ASSIGN_OR_RETURN(ElfSegment segment, ToSegment(header, file_size));
    segments.push_back(segment);
  }
  if (segments.empty()) return Invalid("nothing to load");
  std::sort(segments.begin(), segments.end(),
            [](const ElfSegment& a, const ElfSegment& b) { return a.range.start < b.range.start; });
  for (size_t i = 1; i < segments.size(); ++i) {
    if (segments[i - 1].range.Contains(segments[i].range.start)) return Invalid("segments overlap");
  }
  return segments;
}

// Looks through one PT_NOTE, whose names and descriptors are padded to `alignment`.
absl::StatusOr<std::optional<GuestAddress>> FindEntry(absl::Span<const uint8_t> notes,
                                                      uint64_t alignment) {
  const auto align = [alignment](uint64_t offset) { return (offset + alignment - 1) & -alignment; };
  uint64_t offset = 0;
  while (offset + sizeof(Elf64_Nhdr) <= notes.size()) {
    Elf64_Nhdr note;
    memcpy(&note, &notes[offset], sizeof(note));
    const uint64_t name_offset = offset + sizeof(note);
    const uint64_t descriptor_offset = align(name_offset + note.n_namesz);
    if (descriptor_offset + note.n_descsz > notes.size()) {
      return Invalid("a note reaches beyond its segment");
    }
    const auto name = notes.subspan(name_offset, note.n_namesz);
    const auto descriptor = notes.subspan(descriptor_offset, note.n_descsz);
    if (note.n_type == kPhys32Entry && name == absl::MakeConstSpan(kXenOwner)) {
      // As wide as the kernel's pointers, though the address is a 32-bit one.
      uint64_t entry = 0;
      if (descriptor.size() != 4 && descriptor.size() != sizeof(entry)) {
        return Invalid("a PVH entry note of the wrong size");
      }
      memcpy(&entry, descriptor.data(), descriptor.size());
      return GuestAddress(entry);
    }
    offset = align(descriptor_offset + note.n_descsz);
  }
  return std::nullopt;
}

absl::StatusOr<GuestAddress> PvhEntry(const ByteSource& source,
                                      const std::vector<Elf64_Phdr>& headers) {
  for (const Elf64_Phdr& header : headers) {
    if (header.p_type != PT_NOTE) continue;
    if (header.p_filesz > kMaxNoteBytes) return Invalid("notes too large");
    std::vector<uint8_t> notes(header.p_filesz);
    if (!source.Read(header.p_offset, absl::MakeSpan(notes)).ok()) {
      return Invalid("truncated: the notes lie beyond the file's end");
    }
    ASSIGN_OR_RETURN(std::optional<GuestAddress> entry,
                     FindEntry(notes, header.p_align == 8 ? 8 : 4));
    if (entry.has_value()) return *entry;
  }
  return Invalid(
      "no PVH entry (a Xen note of type 18): build the kernel with CONFIG_PVH, or use its bzImage");
}

}  // namespace

GuestRange ElfKernel::window() const {
  const GuestAddress start = segments.front().range.start;
  const GuestRange& last = segments.back().range;
  return {start, last.start.value() + last.size - start.value()};
}

bool LooksLikeElf(const ByteSource& source) {
  uint8_t magic[SELFMAG];
  return source.Read(0, absl::MakeSpan(magic)).ok() && memcmp(magic, ELFMAG, SELFMAG) == 0;
}

absl::StatusOr<ElfKernel> ParseElfKernel(const ByteSource& source) {
  ASSIGN_OR_RETURN(std::vector<Elf64_Phdr> headers, ReadProgramHeaders(source));
  ElfKernel kernel;
  // The entry first: what an ordinary program lacks.
  ASSIGN_OR_RETURN(kernel.entry, PvhEntry(source, headers));
  ASSIGN_OR_RETURN(kernel.segments, Segments(headers, source.size()));
  const bool inside = std::any_of(
      kernel.segments.begin(), kernel.segments.end(),
      [&kernel](const ElfSegment& segment) { return segment.range.Contains(kernel.entry); });
  if (!inside) {
    return Invalid(absl::StrFormat("the PVH entry %#x is in no segment", kernel.entry.value()));
  }
  return kernel;
}

}  // namespace vmm
