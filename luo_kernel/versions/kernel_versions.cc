#include "luo_kernel/versions/kernel_versions.h"

#include <elf.h>
#include <fcntl.h>
#include <libfdt.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <utility>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/string_view.h"
#include "absl/strings/strip.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/versions/kernel_image.h"

namespace luo {
namespace {

struct Family {
  absl::string_view prefix;
  // Empty for what mainline does not have.
  absl::string_view speaks_in_linux_7_3;
  absl::string_view option;
  absl::string_view if_absent;
  absl::string_view if_another;
};

constexpr Family kFamilies[] = {
    {"kho-v", "kho-v4", "CONFIG_KEXEC_HANDOVER", "it would drop everything handed over",
     "it would drop everything handed over"},
    {"luo-v", "luo-v5", "CONFIG_LIVEUPDATE", "it would drop every session", "it would panic"},
    {"memfd-v", "memfd-v2", "CONFIG_LIVEUPDATE_MEMFD", "it could not open /dev/liveupdate",
     "it could not open /dev/liveupdate"},
    // luo_kernel/linux.
    {"vfio-pci-v", "", "CONFIG_VFIO_PCI_LIVEUPDATE", "it could not open /dev/liveupdate",
     "it could not open /dev/liveupdate"},
    {"intel-vtd-v", "", "CONFIG_VFIO_PCI_LIVEUPDATE", "devices would reach unrelated memory",
     "devices would reach unrelated memory"},
};

bool IsOfDevices(const Family& family) { return family.speaks_in_linux_7_3.empty(); }

// The longest of Linux 7.3's fields for such a string, LIVEUPDATE_HNDL_COMPAT_LENGTH.
constexpr size_t kMaxVersionLength = 48;

const Family* FamilyOf(absl::string_view version) {
  for (const Family& family : kFamilies) {
    absl::string_view number = version;
    if (absl::ConsumePrefix(&number, family.prefix) && !number.empty() &&
        std::all_of(number.begin(), number.end(), absl::ascii_isdigit)) {
      return &family;
    }
  }
  return nullptr;
}

// The NUL-terminated strings of `bytes` that are versions of a known family, whole: "xkho-v4" is
// none.
std::set<std::string> ScanStrings(absl::Span<const uint8_t> bytes) {
  std::set<std::string> found;
  size_t start = 0;
  for (size_t i = 0; i < bytes.size(); ++i) {
    if (absl::ascii_isprint(bytes[i])) continue;
    if (bytes[i] == 0 && i - start <= kMaxVersionLength) {
      absl::string_view string(reinterpret_cast<const char*>(bytes.data()) + start, i - start);
      if (FamilyOf(string) != nullptr) found.emplace(string);
    }
    start = i + 1;
  }
  return found;
}

template <typename T>
std::optional<T> StructAt(absl::Span<const uint8_t> bytes, uint64_t offset) {
  if (offset > bytes.size() || sizeof(T) > bytes.size() - offset) return std::nullopt;
  T value;
  memcpy(&value, bytes.data() + offset, sizeof(T));
  return value;
}

std::optional<absl::Span<const uint8_t>> ContentOf(absl::Span<const uint8_t> elf,
                                                   const Elf64_Shdr& section) {
  if (section.sh_type == SHT_NOBITS || section.sh_offset > elf.size() ||
      section.sh_size > elf.size() - section.sh_offset) {
    return std::nullopt;
  }
  return elf.subspan(section.sh_offset, section.sh_size);
}

// The content of the section called `name`; nothing when there is none, or the file has no sound
// section headers.
std::optional<absl::Span<const uint8_t>> FindSection(absl::Span<const uint8_t> elf,
                                                     absl::string_view name) {
  const auto header = StructAt<Elf64_Ehdr>(elf, 0);
  if (!header.has_value() || header->e_shentsize != sizeof(Elf64_Shdr)) return std::nullopt;
  auto section_at = [&](size_t index) {
    return header->e_shoff > elf.size()
               ? std::nullopt
               : StructAt<Elf64_Shdr>(elf, header->e_shoff + index * sizeof(Elf64_Shdr));
  };
  const auto names_section = section_at(header->e_shstrndx);
  if (!names_section.has_value()) return std::nullopt;
  const auto names = ContentOf(elf, *names_section);
  if (!names.has_value()) return std::nullopt;
  for (size_t i = 0; i < header->e_shnum; ++i) {
    const auto section = section_at(i);
    if (!section.has_value()) return std::nullopt;
    if (section->sh_name >= names->size()) continue;
    const char* at = reinterpret_cast<const char*>(names->data()) + section->sh_name;
    if (absl::string_view(at, strnlen(at, names->size() - section->sh_name)) == name) {
      return ContentOf(elf, *section);
    }
  }
  return std::nullopt;
}

constexpr absl::string_view kVersionsSection = ".liveupdate_versions";

// As proposed for Linux, and as luo_kernel/linux adds it to 7.3 (kernel/liveupdate/luo_versions.c).
// The strings follow, each with its NUL.
struct VersionsSectionHeader {
  uint32_t magic;
  uint32_t version;
};
constexpr uint32_t kVersionsMagic = 0x4c565550;

// A dozen strings; what is longer is no such section.
constexpr size_t kMaxSectionFileBytes = 4096;

absl::StatusOr<std::set<std::string>> ParseVersionsSection(absl::Span<const uint8_t> section) {
  const auto header = StructAt<VersionsSectionHeader>(section, 0);
  if (!header.has_value() || header->magic != kVersionsMagic || header->version != 1) {
    return absl::UnimplementedError(
        absl::StrCat("the kernel's section ", kVersionsSection, " has an unknown format"));
  }
  section.remove_prefix(sizeof(*header));
  std::set<std::string> strings;
  while (!section.empty()) {
    const char* at = reinterpret_cast<const char*>(section.data());
    absl::string_view string(at, strnlen(at, section.size()));
    if (string.size() == section.size() || string.size() > kMaxVersionLength ||
        !std::all_of(string.begin(), string.end(), absl::ascii_isprint)) {
      return absl::InvalidArgumentError(
          absl::StrCat("the kernel's section ", kVersionsSection, " is damaged"));
    }
    if (!string.empty()) strings.emplace(string);
    section.remove_prefix(string.size() + 1);
  }
  return strings;
}

// The first `limit` bytes of a file; none when it cannot be read.
std::vector<uint8_t> ReadFile(const std::string& path, size_t limit) {
  std::vector<uint8_t> bytes(limit);
  size_t size = 0;
  vmm::UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  while (fd.valid() && size < limit) {
    ssize_t got = read(fd.get(), bytes.data() + size, limit - size);
    if (got <= 0) break;
    size += got;
  }
  bytes.resize(size);
  return bytes;
}

// The root's first property in KHO's tree, which is its `compatible` (Linux 7.3,
// kho_out_fdt_setup()). Its name cannot be read: debugfs shows the file as long as the tree was
// early in boot, and the names, which lie last, are cut off.
std::set<std::string> KhoVersion(const std::string& debugfs) {
  constexpr size_t kKhoTreeBytes = 4096;
  std::vector<uint8_t> tree = ReadFile(debugfs + "/kho/out/fdt", kKhoTreeBytes);
  tree.resize(kKhoTreeBytes);
  if (fdt_check_header(tree.data()) != 0 || fdt_totalsize(tree.data()) > kKhoTreeBytes) return {};
  int size = 0;
  const void* value =
      fdt_getprop_by_offset(tree.data(), fdt_first_property_offset(tree.data(), 0), nullptr, &size);
  if (value == nullptr || size <= 0) return {};
  return ScanStrings(absl::MakeConstSpan(static_cast<const uint8_t*>(value), size));
}

// struct luo_ser begins with its version (Linux 7.3, include/linux/kho/abi/luo.h).
std::set<std::string> LuoVersion(const std::string& debugfs) {
  return ScanStrings(ReadFile(debugfs + "/kho/out/sub_fdts/LUO", kMaxVersionLength));
}

}  // namespace

absl::StatusOr<LiveUpdateVersions> ReadKernelVersions(int fd) {
  ASSIGN_OR_RETURN(std::vector<uint8_t> kernel, ReadKernelImage(fd));
  if (auto section = FindSection(kernel, kVersionsSection)) {
    ASSIGN_OR_RETURN(std::set<std::string> strings, ParseVersionsSection(*section));
    return LiveUpdateVersions{std::move(strings), absl::StrCat("its section ", kVersionsSection)};
  }
  return LiveUpdateVersions{ScanStrings(kernel), "its strings"};
}

LiveUpdateVersions RunningKernelVersions(const std::string& debugfs,
                                         const std::string& section_file) {
  const std::vector<uint8_t> section = ReadFile(section_file, kMaxSectionFileBytes);
  if (!section.empty()) {
    if (auto strings = ParseVersionsSection(section); strings.ok()) {
      return {*std::move(strings), section_file};
    }
  }
  std::set<std::string> seen = KhoVersion(debugfs);
  seen.merge(LuoVersion(debugfs));
  LiveUpdateVersions versions = {seen, ""};
  std::vector<absl::string_view> assumed;
  for (const Family& family : kFamilies) {
    if (IsOfDevices(family)) continue;
    auto is_of_family = [&](const std::string& version) { return FamilyOf(version) == &family; };
    if (std::any_of(seen.begin(), seen.end(), is_of_family)) continue;
    versions.strings.emplace(family.speaks_in_linux_7_3);
    assumed.push_back(family.speaks_in_linux_7_3);
  }
  versions.source =
      absl::StrCat(seen.empty() ? "" : absl::StrCat("debugfs: ", absl::StrJoin(seen, ", "), "; "),
                   "assumed, as in Linux 7.3: ", absl::StrJoin(assumed, ", "));
  return versions;
}

namespace {

absl::Status CheckDevices(const LiveUpdateVersions& running) {
  for (const Family& family : kFamilies) {
    if (!IsOfDevices(family)) continue;
    auto is_of_family = [&](const std::string& version) { return FamilyOf(version) == &family; };
    if (std::none_of(running.strings.begin(), running.strings.end(), is_of_family)) {
      return absl::FailedPreconditionError(absl::StrCat("the running kernel is built without ",
                                                        family.option, " (no ", family.prefix,
                                                        "* in ", running.source, ")"));
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckCompatible(const LiveUpdateVersions& running, const LiveUpdateVersions& next,
                             HandedOver handed_over) {
  if (handed_over == HandedOver::kMemoryAndDevices) RETURN_IF_ERROR(CheckDevices(running));
  for (const std::string& version : running.strings) {
    if (next.strings.count(version) != 0) continue;
    const Family* family = FamilyOf(version);
    if (family != nullptr && IsOfDevices(*family) && handed_over == HandedOver::kMemory) continue;
    if (family == nullptr) {
      return absl::FailedPreconditionError(
          absl::StrCat("the next kernel does not speak ", version, ", which the running one does"));
    }
    std::vector<absl::string_view> others;
    for (const std::string& other : next.strings) {
      if (FamilyOf(other) == family) others.push_back(other);
    }
    return absl::FailedPreconditionError(
        others.empty() ? absl::StrCat("the next kernel is built without ", family->option, " (no ",
                                      version, " in ", next.source, "): ", family->if_absent)
                       : absl::StrCat("the next kernel speaks ", absl::StrJoin(others, ", "),
                                      ", the running one ", version, ": ", family->if_another));
  }
  return absl::OkStatus();
}

}  // namespace luo
