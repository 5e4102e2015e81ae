#include "guest_memory/guest_memory.h"

#include <errno.h>
#include <unistd.h>

#include <algorithm>
#include <limits>
#include <string>

#include "absl/strings/str_format.h"
#include "base/status.h"
#include "guest_memory/prefault.h"
#include "guest_memory/volatile_access.h"

namespace vmm {
namespace {

constexpr uint64_t kPageSize = 4096;

bool Overlap(GuestRange a, GuestRange b) { return a.Contains(b.start) || b.Contains(a.start); }

std::string ToString(GuestRange range) {
  return absl::StrFormat("[%#x, +%#x)", range.start.value(), range.size);
}

}  // namespace

absl::StatusOr<std::vector<GuestRange>> SplitGuestRam(uint64_t size) {
  if (size == 0 || size % kPageSize != 0 || size > kMaxGuestRam) {
    return absl::InvalidArgumentError(
        absl::StrFormat("a guest's RAM is a positive multiple of 4 KiB, at most %#x bytes; not %#x",
                        kMaxGuestRam, size));
  }
  std::vector<GuestRange> ranges;
  const uint64_t low = std::min(size, kPciHoleStart);
  ranges.push_back({GuestAddress(0), low});
  uint64_t start = kPciHoleEnd;
  for (uint64_t left = size - low; left > 0;) {
    const uint64_t part = std::min(left, kMaxRegionSize);
    ranges.push_back({GuestAddress(start), part});
    start += part;
    left -= part;
  }
  return ranges;
}

absl::StatusOr<GuestMemory> GuestMemory::Create(const Options& options) {
  ASSIGN_OR_RETURN(const std::vector<GuestRange> ranges, SplitGuestRam(options.size));
  std::vector<MemfdRegion> regions;
  for (GuestRange range : ranges) {
    ASSIGN_OR_RETURN(MemfdRegion region, MemfdRegion::Create(range, options.huge_pages));
    regions.push_back(std::move(region));
  }
  return FromRegions(std::move(regions));
}

absl::StatusOr<GuestMemory> GuestMemory::FromRegions(std::vector<MemfdRegion> regions) {
  if (regions.empty()) return absl::InvalidArgumentError("guest RAM without any region");
  constexpr GuestRange kPciHole = {GuestAddress(kPciHoleStart), kPciHoleEnd - kPciHoleStart};
  for (size_t i = 0; i < regions.size(); ++i) {
    const GuestRange range = regions[i].range();
    if (Overlap(range, kPciHole)) {
      return absl::InvalidArgumentError(
          absl::StrFormat("guest RAM %s lies in the PCI hole", ToString(range)));
    }
    if (i == 0) continue;
    const GuestRange before = regions[i - 1].range();
    if (range.start < before.start || Overlap(before, range)) {
      return absl::InvalidArgumentError(absl::StrFormat("guest RAM %s does not come after %s",
                                                        ToString(range), ToString(before)));
    }
  }
  return GuestMemory(std::move(regions));
}

uint64_t GuestMemory::size() const {
  uint64_t size = 0;
  for (const MemfdRegion& region : regions_) size += region.range().size;
  return size;
}

absl::StatusOr<uint64_t> GuestMemory::MissingBytes() const {
  uint64_t missing = 0;
  for (const MemfdRegion& region : regions_) {
    ASSIGN_OR_RETURN(const uint64_t allocated, region.AllocatedBytes());
    missing += region.range().size - std::min(region.range().size, allocated);
  }
  return missing;
}

template <typename Visit>
absl::Status GuestMemory::ForEachPart(GuestAddress address, uint64_t size, Visit visit) const {
  if (size == 0) return absl::OkStatus();
  const auto not_ram = [&] {
    return absl::OutOfRangeError(
        absl::StrFormat("guest access to %s, not all of which is RAM", ToString({address, size})));
  };

  auto region =
      std::upper_bound(regions_.begin(), regions_.end(), address,
                       [](GuestAddress a, const MemfdRegion& r) { return a < r.range().start; });
  if (region == regions_.begin()) return not_ram();
  --region;
  if (!region->range().Contains(address)) return not_ram();
  uint64_t offset = address.value() - region->range().start.value();

  uint64_t available = region->range().size - offset;
  for (auto last = region; available < size; ++last) {
    const auto next = last + 1;
    if (next == regions_.end() ||
        last->range().start.CheckedAdd(last->range().size) != next->range().start) {
      return not_ram();
    }
    available += next->range().size;
  }

  for (; size > 0; ++region, offset = 0) {
    const uint64_t part = std::min(size, region->range().size - offset);
    RETURN_IF_ERROR(visit(region->host_address() + offset, part));
    size -= part;
  }
  return absl::OkStatus();
}

absl::Status GuestMemory::Read(GuestAddress address, absl::Span<uint8_t> out) const {
  uint8_t* next = out.data();
  return ForEachPart(address, out.size(), [&](const uint8_t* guest, uint64_t size) {
    CopyFromGuest(guest, next, size);
    next += size;
    return absl::OkStatus();
  });
}

absl::Status GuestMemory::Write(GuestAddress address, absl::Span<const uint8_t> bytes) const {
  const uint8_t* next = bytes.data();
  return ForEachPart(address, bytes.size(), [&](uint8_t* guest, uint64_t size) {
    CopyToGuest(guest, next, size);
    next += size;
    return absl::OkStatus();
  });
}

absl::Status GuestMemory::Fill(GuestAddress address, uint8_t value, uint64_t size) const {
  return ForEachPart(address, size, [&](uint8_t* guest, uint64_t part) {
    FillGuest(guest, value, part);
    return absl::OkStatus();
  });
}

absl::Status GuestMemory::ReadFromFd(int fd, uint64_t offset, GuestAddress address,
                                     uint64_t size) const {
  constexpr uint64_t kMaxOffset = std::numeric_limits<off_t>::max();
  if (offset > kMaxOffset || size > kMaxOffset - offset) {
    return absl::InvalidArgumentError(
        absl::StrFormat("no file holds %#x bytes at offset %#x", size, offset));
  }
  return ForEachPart(address, size, [&](uint8_t* guest, uint64_t part) -> absl::Status {
    while (part > 0) {
      const ssize_t count = pread(fd, guest, part, static_cast<off_t>(offset));
      if (count < 0 && errno == EINTR) continue;
      if (count < 0) return ErrnoStatus(errno, "reading an image into guest RAM");
      if (count == 0) {
        return absl::InvalidArgumentError(
            absl::StrFormat("image ends early: no bytes at offset %#x", offset));
      }
      guest += count;
      offset += count;
      part -= count;
    }
    return absl::OkStatus();
  });
}

absl::Status GuestMemory::Prefault(int threads, const PrefaultProgress& progress) const {
  std::vector<absl::Span<uint8_t>> ranges;
  for (const MemfdRegion& region : regions_) {
    ranges.push_back(absl::MakeSpan(region.host_address(), region.range().size));
  }
  return vmm::Prefault(ranges, threads, progress);
}

}  // namespace vmm
