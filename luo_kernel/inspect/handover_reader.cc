#include "luo_kernel/inspect/handover_reader.h"

#include <string.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/status.h"
#include "base/tree.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/inspect/device_tree.h"
#include "luo_kernel/inspect/inspection.h"
#include "luo_kernel/inspect/luo_reader.h"
#include "luo_kernel/inspect/memfd_reader.h"
#include "luo_kernel/inspect/preserved_runs.h"

namespace luo {
namespace {

using ::vmm::Tree;

constexpr uint64_t kPage = abi::kPageSize;
constexpr absl::string_view kAnyKho = "kho-v";
// Linux has one a NUMA node and two more (kexec_handover.c, kho_reserve_scratch()).
constexpr uint64_t kMaxScratchRegions = 4096;

// KHO's numbers are in the machine's byte order, unlike those of other device trees.
std::optional<uint64_t> Number(const Tree& node, absl::string_view name, Problems& problems) {
  absl::StatusOr<uint64_t> number = node.GetStruct<uint64_t>(name);
  if (number.ok()) return *number;
  problems.Add(absl::StrCat("device tree: ", number.status().message()));
  return std::nullopt;
}

KexecReport ReadKexec(const abi::KexecMetadata& metadata) {
  const char* release = metadata.previous_release;
  return {
      .previous_release = std::string(release, strnlen(release, sizeof(metadata.previous_release))),
      .count = metadata.kexec_count};
}

void ReadSubtree(Inspection& inspection, const SubtreeReport& subtree, HandoverReport& report) {
  Problems& problems = inspection.problems();
  if (subtree.name == abi::kLuoSubtree) {
    report.luo = InspectLuo(inspection, subtree.address, subtree.size);
    return;
  }
  if (!inspection.Claim(subtree.address, subtree.size,
                        absl::StrCat("subtree \"", absl::CHexEscape(subtree.name), "\""))) {
    return;
  }
  if (subtree.name != abi::kKexecMetadataName) return;
  const auto metadata = inspection.memory().Load<abi::KexecMetadata>(subtree.address);
  if (!metadata.ok() || subtree.size < sizeof(*metadata) ||
      metadata->version != abi::kKexecMetadataVersion) {
    problems.Add("kexec-metadata: of an unknown version or size");
    return;
  }
  report.kexec = ReadKexec(*metadata);
}

std::vector<SubtreeReport> ReadSubtrees(const Tree& root, absl::string_view version,
                                        Problems& problems) {
  const bool first = version == abi::kKhoV1Compatible;
  const bool has_sizes = !first && version != abi::kKhoV2Compatible;
  std::vector<SubtreeReport> subtrees;
  for (const Tree& node : root.children()) {
    const auto address =
        Number(node, first ? abi::kKhoV1SubtreeAddressProperty : abi::kKhoSubtreeAddressProperty,
               problems);
    // Where it is not said, a subtree is a device tree in one page.
    const auto size = has_sizes ? Number(node, abi::kKhoSubtreeSizeProperty, problems) : kPage;
    if (!address.has_value() || !size.has_value()) continue;
    subtrees.push_back({.name = node.name(), .address = *address, .size = *size});
  }
  return subtrees;
}

// The next kernel allocates in scratch memory before it knows what is preserved.
void CheckScratch(const PreservedRuns& preserved, HandoverReport& report) {
  for (const PreservedRun& run : preserved.runs()) {
    for (const MemoryRange& region : report.scratch) {
      if (run.address + run.size() <= region.address ||
          region.address + region.size <= run.address) {
        continue;
      }
      report.problems.Add(
          absl::StrFormat("memory map: %#x, %d blocks of %d KiB, lies in the scratch memory at %#x",
                          run.address, run.count, run.block_bytes() >> 10, region.address));
    }
  }
}

bool IsOlderKho(absl::string_view compatible) {
  return compatible == abi::kKhoV1Compatible || compatible == abi::kKhoV2Compatible ||
         compatible == abi::kKhoV3Compatible;
}

// What the tree says. False where it says nothing that can be gone on with.
bool ReadRoot(absl::Span<const uint8_t> bytes, HandoverReport& report) {
  Problems& problems = report.problems;
  const absl::StatusOr<Tree> root = ReadDeviceTree(bytes);
  if (!root.ok()) {
    problems.Add(absl::StrCat("device tree: ", root.status().message()));
    return false;
  }
  report.compatible = root->GetString(abi::kKhoCompatibleProperty).value_or("");
  if (IsOlderKho(report.compatible)) {
    problems.Add(absl::StrFormat(
        "\"%s\", an older version: its subtrees are shown, and its map of what is preserved "
        "cannot be read, which takes \"%s\"; so nothing is checked against it",
        report.compatible, abi::kKhoCompatible));
    report.subtrees = ReadSubtrees(*root, report.compatible, problems);
    return true;
  }
  if (report.compatible != abi::kKhoCompatible) {
    problems.Add(
        absl::StrFormat("\"%s\", and only \"%s\" can be read, and subtrees of \"%s\" to \"%s\"",
                        absl::CHexEscape(report.compatible), abi::kKhoCompatible,
                        abi::kKhoV1Compatible, abi::kKhoV3Compatible));
    return false;
  }
  report.subtrees = ReadSubtrees(*root, report.compatible, problems);
  const auto map_address = Number(*root, abi::kKhoMemoryMapProperty, problems);
  report.map_address = map_address.value_or(0);
  return map_address.has_value();
}

}  // namespace

HandoverReport ReadHandoverTree(absl::Span<const uint8_t> tree, std::string origin) {
  HandoverReport report{.origin = std::move(origin)};
  ReadRoot(tree, report);
  return report;
}

std::vector<MemoryRange> ReadScratch(const PhysicalReader& memory, uint64_t address, uint64_t size,
                                     Problems& problems) {
  std::vector<MemoryRange> regions;
  if (size == 0 || size % sizeof(abi::Scratch) != 0 ||
      size > kMaxScratchRegions * sizeof(abi::Scratch)) {
    problems.Add(absl::StrCat("scratch memory: a list of ", size, " bytes"));
    return regions;
  }
  for (uint64_t i = 0; i < size / sizeof(abi::Scratch); ++i) {
    const auto region = memory.Load<abi::Scratch>(address + i * sizeof(abi::Scratch));
    if (!region.ok()) {
      problems.Add(absl::StrFormat("scratch memory: its list at %#x cannot be read", address));
      return regions;
    }
    if (region->size == 0 || !memory.Has(region->address, region->size)) {
      problems.Add(absl::StrFormat("scratch memory: %#x, %d bytes, is not memory", region->address,
                                   region->size));
      continue;
    }
    regions.push_back({.address = region->address, .size = region->size});
  }
  return regions;
}

HandoverReport ReadHandover(const PhysicalReader& memory, uint64_t address, std::string origin,
                            std::vector<MemoryRange> scratch) {
  HandoverReport report{
      .address = address, .origin = std::move(origin), .scratch = std::move(scratch)};
  Problems& problems = report.problems;
  std::vector<uint8_t> page(kPage);
  if (address % kPage != 0 || !memory.Read(address, absl::MakeSpan(page)).ok()) {
    problems.Add(absl::StrFormat("device tree: no page of memory at %#x", address));
    return report;
  }
  if (!ReadRoot(page, report)) return report;
  const bool has_map = report.compatible == abi::kKhoCompatible;
  PreservedRuns preserved;
  if (has_map) preserved = PreservedRuns::Read(memory, report.map_address, problems);
  report.map_pages = preserved.tree_pages();
  report.preserved = preserved.CountBySize();
  report.preserved_bytes = preserved.bytes();
  CheckScratch(preserved, report);

  Inspection inspection(memory, has_map ? &preserved : nullptr, problems);
  inspection.Claim(address, kPage, "KHO's device tree");
  for (const SubtreeReport& subtree : report.subtrees) ReadSubtree(inspection, subtree, report);
  if (has_map && report.luo.has_value() && report.luo->sessions_address == 0) {
    report.unassigned = FindMemfds(inspection);
  }
  report.claimed_bytes = inspection.CheckClaims();
  return report;
}

Report ReadHandovers(const PhysicalReader& memory, std::string source,
                     std::optional<uint64_t> address, const std::vector<MemoryRange>& scratch) {
  Report report{.source = std::move(source)};
  for (const MemoryRange& range : memory.ranges()) report.memory_bytes += range.size;
  if (address.has_value()) {
    report.handovers.push_back(ReadHandover(memory, *address, "address given", scratch));
    return report;
  }
  for (const uint64_t found : FindHandovers(memory)) {
    report.handovers.push_back(ReadHandover(memory, found, "found in memory", scratch));
  }
  const auto kexecs = [](const HandoverReport& handover) {
    return handover.kexec.has_value() ? int64_t{handover.kexec->count} : -1;
  };
  std::stable_sort(
      report.handovers.begin(), report.handovers.end(),
      [&](const HandoverReport& a, const HandoverReport& b) { return kexecs(a) > kexecs(b); });
  for (size_t i = 0; report.handovers.size() > 1 && i < report.handovers.size(); ++i) {
    report.handovers[i].origin += i == 0 ? ", the latest" : ", an earlier one";
  }
  return report;
}

std::vector<uint64_t> FindHandovers(const PhysicalReader& memory) {
  std::vector<uint64_t> found;
  memory.ForEachPage([&found](uint64_t address, absl::Span<const uint8_t> page) {
    if (!IsDeviceTree(page)) return;
    const auto tree = ReadDeviceTree(page);
    if (!tree.ok()) return;
    const auto compatible = tree->GetString(abi::kKhoCompatibleProperty);
    if (compatible.ok() && absl::StartsWith(*compatible, kAnyKho)) found.push_back(address);
  });
  return found;
}

}  // namespace luo
