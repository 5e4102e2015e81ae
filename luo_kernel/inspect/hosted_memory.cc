#include "luo_kernel/inspect/hosted_memory.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "luo_kernel/inspect/handover_reader.h"

namespace luo {

absl::StatusOr<std::unique_ptr<HostedMemory>> HostedMemory::Open(const std::string& path) {
  ASSIGN_OR_RETURN(InspectedMachine machine, InspectHosted(path));
  return FromMachine(std::move(machine));
}

absl::StatusOr<std::unique_ptr<HostedMemory>> HostedMemory::FromMachine(InspectedMachine machine) {
  std::sort(machine.extents.begin(), machine.extents.end(),
            [](const InspectedExtent& a, const InspectedExtent& b) {
              return a.range.start < b.range.start;
            });
  std::unique_ptr<HostedMemory> memory(new HostedMemory(std::move(machine)));
  std::vector<MemoryRange>& ranges = memory->ranges_;
  for (const InspectedExtent& extent : memory->machine_.extents) {
    const uint64_t start = extent.range.start.value();
    const uint64_t size = extent.range.size;
    const bool overlaps = !ranges.empty() && start < ranges.back().address + ranges.back().size;
    if (size > UINT64_MAX - start || size > UINT64_MAX - extent.offset || overlaps) {
      return absl::InvalidArgumentError(
          absl::StrFormat("the instance's memory at %#x overlaps other, or has no end", start));
    }
    if (!ranges.empty() && ranges.back().address + ranges.back().size == start) {
      ranges.back().size += size;
    } else {
      ranges.push_back({.address = start, .size = size});
    }
  }
  return memory;
}

Report HostedMemory::ReadReport(const std::string& source, std::optional<uint64_t> address) const {
  Report report{.source = source};
  for (const MemoryRange& range : ranges_) report.memory_bytes += range.size;
  Problems problems;
  std::vector<MemoryRange> scratch =
      ReadScratch(*this, scratch_address(), scratch_size(), problems);
  report.handovers.push_back(
      ReadHandover(*this, address.value_or(handover_address()),
                   absl::StrFormat("would be handed over now, after %d kexecs", generation()),
                   std::move(scratch)));
  for (const std::string& problem : problems.kept()) report.handovers[0].problems.Add(problem);
  return report;
}

absl::Status HostedMemory::Read(uint64_t address, absl::Span<uint8_t> out) const {
  const std::vector<InspectedExtent>& extents = machine_.extents;
  auto next = std::upper_bound(extents.begin(), extents.end(), address,
                               [](uint64_t wanted, const InspectedExtent& extent) {
                                 return wanted < extent.range.start.value();
                               });
  if (next != extents.begin()) --next;
  while (!out.empty()) {
    if (next == extents.end() || !next->range.Contains(PhysicalAddress(address))) {
      return absl::OutOfRangeError(absl::StrFormat("the instance has no memory at %#x", address));
    }
    const uint64_t skip = address - next->range.start.value();
    absl::Span<uint8_t> part = out.first(std::min<uint64_t>(out.size(), next->range.size - skip));
    uint64_t offset = next->offset + skip;
    out.remove_prefix(part.size());
    address += part.size();
    while (!part.empty()) {
      if (offset > INT64_MAX) return absl::OutOfRangeError("beyond the end of any file");
      const ssize_t size =
          pread(next->file.get(), part.data(), part.size(), static_cast<off_t>(offset));
      if (size < 0 && errno == EINTR) continue;
      if (size < 0) return vmm::ErrnoStatus(errno, "the instance's memory");
      if (size == 0) return absl::OutOfRangeError("the instance's memory has become shorter");
      part.remove_prefix(size);
      offset += size;
    }
    ++next;
  }
  return absl::OkStatus();
}

}  // namespace luo
