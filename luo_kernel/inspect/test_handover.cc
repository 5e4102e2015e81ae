#include "luo_kernel/inspect/test_handover.h"

#include <elf.h>

#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/inspect/handover_reader.h"
#include "luo_kernel/kho/arena.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/luo/image.h"
#include "luo_kernel/memfd/memfd_image.h"

namespace luo {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
// The list of scratch regions takes the last 64 KiB of the first.
constexpr uint64_t kScratch = 64 << 10;

void CheckOk(const absl::Status& status) {
  absl::StatusOr<int>(status.ok() ? absl::StatusOr<int>(0) : status).value();
}

template <typename T>
void Append(std::vector<uint8_t>& bytes, const T& value) {
  const auto* start = reinterpret_cast<const uint8_t*>(&value);
  bytes.insert(bytes.end(), start, start + sizeof(value));
}

}  // namespace

absl::StatusOr<absl::Span<const std::byte>> TestMemory::Read(PhysicalAddress address,
                                                             uint64_t size) const {
  if (!Has(address.value(), size)) return absl::OutOfRangeError("not in test memory");
  return absl::MakeConstSpan(bytes_).subspan(address.value() - ranges_[0].address, size);
}

absl::StatusOr<absl::Span<std::byte>> TestMemory::Write(PhysicalAddress address, uint64_t size) {
  if (!Has(address.value(), size)) return absl::OutOfRangeError("not in test memory");
  return absl::MakeSpan(bytes_).subspan(address.value() - ranges_[0].address, size);
}

bool TestMemory::Contains(PhysicalAddress address, uint64_t size) const {
  return Has(address.value(), size);
}

absl::Status TestMemory::Read(uint64_t address, absl::Span<uint8_t> out) const {
  const auto bytes = Read(PhysicalAddress(address), out.size());
  if (!bytes.ok()) return bytes.status();
  memcpy(out.data(), bytes->data(), out.size());
  return absl::OkStatus();
}

std::string TestContents() {
  std::string contents;
  for (size_t i = 0; i < 3 * kPage + 1; ++i) contents += static_cast<char>('a' + i / 100 % 26);
  return contents;
}

TestHandover::TestHandover() {
  Arena arena = Arena::Create(&memory_, {PhysicalAddress(kMemory), kMemorySize}).value();
  OutgoingHandover outgoing =
      OutgoingHandover::Create(&memory_, &arena, {{PhysicalAddress(kMemory), kScratch}}).value();

  const std::string contents = TestContents();
  std::vector<FolioImage> folios;
  for (const auto& [order, index] : {std::pair(1u, 0u), std::pair(0u, 2u), std::pair(0u, 3u)}) {
    const PhysicalAddress folio = arena.Allocate(order).value();
    const size_t offset = index * kPage;
    const size_t size = std::min<size_t>(kPage << order, contents.size() - offset);
    memcpy(memory_.Write(folio, size).value().data(), contents.data() + offset, size);
    CheckOk(outgoing.PreserveFolio(folio, order));
    folios.push_back(
        {.address = folio, .flags = abi::kFolioDirty | abi::kFolioUptodate, .index = index});
  }
  const PhysicalAddress large =
      WriteMemfdSer(outgoing, /*position=*/7, contents.size(), /*seals=*/6, folios).value();
  const std::vector<std::byte> page(kPage, std::byte{0x5a});
  const PhysicalAddress small = WriteMemfd(outgoing, ContentsOf(page)).value();
  const PhysicalAddress empty = WriteMemfd(outgoing, ContentsOf({})).value();
  const LuoImage image = {
      .number = 3,
      .sessions = {{.name = "a",
                    .files = {{abi::kMemfdCompatible, large.value(), 1},
                              {abi::kMemfdCompatible, empty.value(), 2}}},
                   {.name = "b",
                    .files = {{abi::kMemfdCompatible, small.value(), 1}, {"other-v1", 77, 2}}},
                   {.name = "none", .files = {}}},
      .flbs = {{.name = "flb-v1", .data = 99, .count = 4}}};
  CheckOk(WriteLuoV5(outgoing, image));

  const PhysicalAddress metadata = outgoing.AllocatePreserved(sizeof(abi::KexecMetadata)).value();
  const abi::KexecMetadata kexec = {
      .version = abi::kKexecMetadataVersion, .previous_release = "7.3.old", .kexec_count = 5};
  Poke(metadata.value(), kexec);
  CheckOk(outgoing.AddSubtree(abi::kKexecMetadataName, metadata, sizeof(kexec)));
  tree_ = outgoing.data().root_address;
}

HandoverReport TestHandover::Read() const { return ReadHandover(memory_, tree_, "test"); }

std::vector<uint8_t> TestHandover::AsElfCore() const {
  const std::string info = "OSRELEASE=7.3.test\nPAGESIZE=4096\n";
  const std::string owner("VMCOREINFO\0\0", 12);  // padded to 4
  const uint64_t headers = sizeof(Elf64_Ehdr) + 2 * sizeof(Elf64_Phdr);
  const Elf64_Nhdr note = {
      .n_namesz = 11, .n_descsz = static_cast<Elf64_Word>(info.size()), .n_type = 0};
  const uint64_t note_size = sizeof(note) + owner.size() + info.size();

  std::vector<uint8_t> file;
  Elf64_Ehdr header = {};
  memcpy(header.e_ident, ELFMAG, SELFMAG);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_type = ET_CORE;
  header.e_phoff = sizeof(header);
  header.e_phentsize = sizeof(Elf64_Phdr);
  header.e_phnum = 2;
  Append(file, header);
  Append(file, Elf64_Phdr{.p_type = PT_NOTE, .p_offset = headers, .p_filesz = note_size});
  Append(file, Elf64_Phdr{.p_type = PT_LOAD,
                          .p_offset = headers + note_size,
                          .p_paddr = kMemory,
                          .p_filesz = kMemorySize,
                          .p_memsz = kMemorySize});
  Append(file, note);
  file.insert(file.end(), owner.begin(), owner.end());
  file.insert(file.end(), info.begin(), info.end());
  const auto* bytes = reinterpret_cast<const uint8_t*>(memory_.bytes().data());
  file.insert(file.end(), bytes, bytes + memory_.bytes().size());
  return file;
}

}  // namespace luo
