#include "luo_kernel/inspect/running_kernel.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "base/status.h"
#include "base/unique_fd.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/inspect/handover_reader.h"
#include "luo_kernel/inspect/memory_image.h"

namespace luo {
namespace {

using ::vmm::UniqueFd;

// Of a file in /proc or debugfs; more is not what is looked for.
constexpr size_t kMaxFile = 1 << 20;

absl::StatusOr<std::string> ReadSmallFile(const std::string& path) {
  UniqueFd fd(open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return vmm::ErrnoStatus(errno, path);
  std::string bytes;
  char part[4096];
  while (bytes.size() < kMaxFile) {
    const ssize_t size = read(fd.get(), part, sizeof(part));
    if (size < 0) return vmm::ErrnoStatus(errno, path);
    if (size == 0) break;
    bytes.append(part, size);
  }
  return bytes;
}

absl::Span<const uint8_t> Bytes(const std::string& text) {
  return absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(text.data()), text.size());
}

// /dev/mem: offsets are physical addresses.
class MemoryDevice final : public PhysicalReader {
 public:
  MemoryDevice(UniqueFd fd, std::vector<MemoryRange> ranges)
      : fd_(std::move(fd)), ranges_(std::move(ranges)) {}

  const std::vector<MemoryRange>& ranges() const override { return ranges_; }

  absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const override {
    if (!Has(address, out.size())) {
      return absl::OutOfRangeError(absl::StrFormat("no memory at %#x", address));
    }
    while (!out.empty()) {
      const ssize_t size = pread(fd_.get(), out.data(), out.size(), static_cast<off_t>(address));
      if (size < 0 && errno == EINTR) continue;
      if (size <= 0) return vmm::ErrnoStatus(size < 0 ? errno : EIO, "memory");
      out.remove_prefix(size);
      address += size;
    }
    return absl::OkStatus();
  }

 private:
  const UniqueFd fd_;
  const std::vector<MemoryRange> ranges_;
};

// "00100000-bfffffff : System RAM", whose end is its last byte. Without the right to see them all
// addresses are 0.
std::vector<MemoryRange> SystemRam(absl::string_view iomem) {
  std::vector<MemoryRange> ranges;
  for (const absl::string_view line : absl::StrSplit(iomem, '\n')) {
    const std::vector<absl::string_view> parts = absl::StrSplit(line, " : ");
    if (parts.size() != 2 || parts[1] != "System RAM") continue;
    const std::vector<absl::string_view> ends = absl::StrSplit(parts[0], '-');
    uint64_t first, last;
    if (ends.size() != 2 || !absl::SimpleHexAtoi(ends[0], &first) ||
        !absl::SimpleHexAtoi(ends[1], &last) || last <= first || last == UINT64_MAX) {
      continue;
    }
    if (!ranges.empty() && first < ranges.back().address + ranges.back().size) continue;
    ranges.push_back({.address = first, .size = last - first + 1});
  }
  return ranges;
}

absl::StatusOr<std::unique_ptr<PhysicalReader>> OpenMemoryDevice(const KernelPaths& paths) {
  UniqueFd fd(open(paths.mem.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd.valid()) return vmm::ErrnoStatus(errno, paths.mem);
  ASSIGN_OR_RETURN(const std::string iomem, ReadSmallFile(paths.iomem));
  std::vector<MemoryRange> ranges = SystemRam(iomem);
  if (ranges.empty()) {
    return absl::FailedPreconditionError(absl::StrCat(paths.iomem, " shows no System RAM"));
  }
  auto memory = std::make_unique<MemoryDevice>(std::move(fd), std::move(ranges));
  // A kernel with CONFIG_STRICT_DEVMEM opens it, and refuses then, or gives zeros for memory.
  uint8_t byte;
  const MemoryRange& last = memory->ranges().back();
  const absl::Status status = memory->Read(last.address + last.size - 1, absl::MakeSpan(&byte, 1));
  if (!status.ok()) return vmm::Annotate(status, paths.mem);
  return memory;
}

// `source` is told by which file.
absl::StatusOr<std::unique_ptr<PhysicalReader>> OpenMemory(const KernelPaths& paths,
                                                           std::string& source,
                                                           std::vector<std::string>& notes) {
  UniqueFd fd(open(paths.kcore.c_str(), O_RDONLY | O_CLOEXEC));
  absl::Status why_no_kcore = vmm::ErrnoStatus(errno, paths.kcore);
  if (fd.valid()) {
    absl::StatusOr<std::unique_ptr<MemoryImage>> image = MemoryImage::Open(std::move(fd));
    if (image.ok()) {
      source = absl::StrCat("this kernel, by ", paths.kcore);
      return *std::move(image);
    }
    why_no_kcore = vmm::Annotate(image.status(), paths.kcore);
  }
  absl::StatusOr<std::unique_ptr<PhysicalReader>> device = OpenMemoryDevice(paths);
  source = absl::StrCat("this kernel, by ", paths.mem);
  if (!device.ok()) {
    notes.push_back(absl::StrCat(
        "the kernel's memory cannot be read: ", std::string(why_no_kcore.message()), "; ",
        std::string(device.status().message()),
        ". It takes root and CONFIG_PROC_KCORE, or CONFIG_DEVMEM without CONFIG_STRICT_DEVMEM"));
  }
  return device;
}

std::vector<std::string> FilesIn(const std::string& folder) {
  std::vector<std::string> names;
  DIR* open_folder = opendir(folder.c_str());
  if (open_folder == nullptr) return names;
  while (const dirent* entry = readdir(open_folder)) {
    if (entry->d_name[0] != '.') names.push_back(entry->d_name);
  }
  closedir(open_folder);
  std::sort(names.begin(), names.end());
  return names;
}

// What debugfs tells of one direction by itself.
std::optional<HandoverReport> ReadDebugfs(const std::string& folder, const std::string& origin) {
  const absl::StatusOr<std::string> tree = ReadSmallFile(folder + "/fdt");
  const std::vector<std::string> names = FilesIn(folder + "/sub_fdts");
  if (!tree.ok() && names.empty()) return std::nullopt;
  HandoverReport report{.origin = origin};
  if (tree.ok()) report = ReadHandoverTree(Bytes(*tree), origin);
  for (const std::string& name : names) {
    const absl::StatusOr<std::string> blob =
        ReadSmallFile(absl::StrCat(folder, "/sub_fdts/", name));
    if (!blob.ok()) continue;
    const bool listed =
        std::any_of(report.subtrees.begin(), report.subtrees.end(),
                    [&](const SubtreeReport& subtree) { return subtree.name == name; });
    if (!listed) report.subtrees.push_back({.name = name, .address = 0, .size = blob->size()});
    if (name == abi::kLuoSubtree && blob->size() >= sizeof(abi::LuoSer)) {
      abi::LuoSer ser;
      memcpy(&ser, blob->data(), sizeof(ser));
      report.luo = LuoReport{.compatible = std::string(
                                 ser.compatible, strnlen(ser.compatible, sizeof(ser.compatible))),
                             .number = ser.liveupdate_num,
                             .sessions_address = ser.sessions_pa,
                             .flbs_address = ser.flbs_pa};
    }
    if (name == abi::kKexecMetadataName && blob->size() >= sizeof(abi::KexecMetadata)) {
      abi::KexecMetadata metadata;
      memcpy(&metadata, blob->data(), sizeof(metadata));
      const char* release = metadata.previous_release;
      report.kexec = KexecReport{.previous_release = std::string(
                                     release, strnlen(release, sizeof(metadata.previous_release))),
                                 .count = metadata.kexec_count};
    }
  }
  return report;
}

// What is written one to a line, "0x...".
std::vector<uint64_t> ReadNumbers(const std::string& path) {
  std::vector<uint64_t> numbers;
  const absl::StatusOr<std::string> text = ReadSmallFile(path);
  if (!text.ok()) return numbers;
  for (const absl::string_view line : absl::StrSplit(*text, '\n')) {
    uint64_t number;
    if (absl::SimpleHexAtoi(line, &number)) numbers.push_back(number);
  }
  return numbers;
}

// Where the next kernel boots, which debugfs shows.
std::vector<MemoryRange> ReadScratchRegions(const KernelPaths& paths) {
  const std::vector<uint64_t> addresses = ReadNumbers(paths.debugfs + "/out/scratch_phys");
  const std::vector<uint64_t> sizes = ReadNumbers(paths.debugfs + "/out/scratch_len");
  std::vector<MemoryRange> regions;
  for (size_t i = 0; i < std::min(addresses.size(), sizes.size()); ++i) {
    if (sizes[i] > UINT64_MAX - addresses[i]) continue;
    regions.push_back({.address = addresses[i], .size = sizes[i]});
  }
  return regions;
}

// What this kernel was told when it booted: setup_data of type SETUP_KEXEC_KHO (Linux 7.3,
// arch/x86/include/uapi/asm/setup_data.h).
std::optional<abi::KhoData> WhatCameIn(const KernelPaths& paths) {
  constexpr uint64_t kSetupKexecKho = 10;
  for (const std::string& name : FilesIn(paths.setup_data)) {
    const std::string entry = absl::StrCat(paths.setup_data, "/", name);
    const std::vector<uint64_t> type = ReadNumbers(entry + "/type");
    const absl::StatusOr<std::string> data = ReadSmallFile(entry + "/data");
    abi::KhoData kho;
    if (type != std::vector<uint64_t>{kSetupKexecKho} || !data.ok() || data->size() < sizeof(kho)) {
      continue;
    }
    memcpy(&kho, data->data(), sizeof(kho));
    return kho;
  }
  return std::nullopt;
}

void NameDirections(const KernelPaths& paths, Report& report) {
  const std::optional<abi::KhoData> came_in = WhatCameIn(paths);
  bool seen = false;
  for (HandoverReport& handover : report.handovers) {
    if (came_in.has_value() && handover.address == came_in->root_address) {
      handover.origin += ", came in";
      seen = !handover.problems.empty();
    } else if (&handover == &report.handovers.front()) {
      handover.origin += ", goes out";
    }
  }
  if (!seen) return;
  report.notes.push_back(
      "of the handover that came in this kernel has freed what it has read: its memory map and "
      "LUO's own page while it booted, the lists of sessions and files when they were taken "
      "(--salvage searches for them)");
}

}  // namespace

absl::StatusOr<RunningKernel> ReadRunningKernel(std::optional<uint64_t> address,
                                                const KernelPaths& paths) {
  RunningKernel kernel;
  std::vector<std::string> notes;
  std::string source;
  absl::StatusOr<std::unique_ptr<PhysicalReader>> memory = OpenMemory(paths, source, notes);
  if (memory.ok()) {
    kernel.memory = *std::move(memory);
    kernel.report = ReadHandovers(*kernel.memory, source, address, ReadScratchRegions(paths));
    NameDirections(paths, kernel.report);
    if (kernel.report.handovers.empty()) {
      notes.push_back(
          "no handover is in memory: a kernel without KHO (kho=on), or one whose "
          "memory reads as zeros (CONFIG_STRICT_DEVMEM)");
      if (access(paths.vmcore.c_str(), F_OK) == 0) {
        notes.push_back(absl::StrCat("this is a crash kernel: luoctl inspect ", paths.vmcore,
                                     " shows what the one that crashed had"));
      }
    }
  }
  if (kernel.report.handovers.empty()) {
    kernel.report.source = "this kernel";
    for (const auto& [name, origin] :
         {std::pair("out", "debugfs, goes out"), std::pair("in", "debugfs, came in")}) {
      std::optional<HandoverReport> handover =
          ReadDebugfs(absl::StrCat(paths.debugfs, "/", name), origin);
      if (handover.has_value()) kernel.report.handovers.push_back(*std::move(handover));
    }
    if (kernel.report.handovers.empty()) {
      notes.push_back(
          absl::StrCat(paths.debugfs,
                       " is not there: it takes root, a mounted debugfs, "
                       "CONFIG_KEXEC_HANDOVER_DEBUGFS and a kernel booted with kho=on"));
      return absl::FailedPreconditionError(absl::StrJoin(notes, "; "));
    }
  }
  utsname name;
  if (uname(&name) == 0) kernel.report.kernel = name.release;
  std::move(notes.begin(), notes.end(), std::back_inserter(kernel.report.notes));
  return kernel;
}

}  // namespace luo
