#include "vmm/boot/loader.h"

#include <stdint.h>

#include <algorithm>
#include <optional>
#include <variant>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "vmm/boot/acpi.h"
#include "vmm/boot/boot_params.h"
#include "vmm/boot/byte_source.h"
#include "vmm/boot/kernel_image.h"
#include "vmm/boot/memory_map.h"
#include "vmm/boot/platform.h"

namespace vmm {
namespace {

constexpr uint64_t kPageSize = 4096;
constexpr uint64_t kMiB = 1 << 20;
// PVH has no field for it: Linux's COMMAND_LINE_SIZE (arch/x86/include/asm/setup.h), less the NUL.
constexpr uint64_t kPvhMaxCommandLine = 2047;

uint64_t CeilMiB(uint64_t bytes) { return (bytes + kMiB - 1) / kMiB; }

uint64_t End(const GuestRange& range) { return range.start.value() + range.size; }

// What the rest of the loading asks of a kernel, whatever its format.
struct Demands {
  GuestRange window;
  uint64_t max_command_line;
  uint64_t initrd_end;  // the initrd lies below
};

Demands DemandsOf(const BzImage& image) {
  return {image.window, image.header.cmdline_size, uint64_t{image.header.initrd_addr_max} + 1};
}

Demands DemandsOf(const ElfKernel& kernel) {
  return {kernel.window(), kPvhMaxCommandLine, kPciHoleStart};
}

absl::Status LoadKernel(const GuestMemory& memory, int fd, const BzImage& image) {
  return memory.ReadFromFd(fd, image.payload_offset, image.window.start, image.payload_size);
}

absl::Status LoadKernel(const GuestMemory& memory, int fd, const ElfKernel& kernel) {
  for (const ElfSegment& segment : kernel.segments) {
    const GuestAddress start = segment.range.start;
    RETURN_IF_ERROR(memory.ReadFromFd(fd, segment.file_offset, start, segment.file_size));
    RETURN_IF_ERROR(memory.Fill(GuestAddress(start.value() + segment.file_size), 0,
                                segment.range.size - segment.file_size));
  }
  return absl::OkStatus();
}

// The highest page-aligned place for `size` bytes in [start, end), if there is one.
std::optional<GuestAddress> HighestFit(uint64_t start, uint64_t end, uint64_t size) {
  if (end < start || end - start < size) return std::nullopt;
  const uint64_t address = (end - size) & -kPageSize;
  if (address < start) return std::nullopt;
  return GuestAddress(address);
}

absl::StatusOr<GuestRange> PlaceInitrd(uint64_t size, const Demands& kernel, uint64_t low_end) {
  const uint64_t limit = std::min(kernel.initrd_end, kPciHoleStart);
  auto address = HighestFit(End(kernel.window), std::min(limit, low_end), size);
  if (!address) {
    address = HighestFit(kHighRamStart.value(), std::min(limit, kernel.window.start.value()), size);
  }
  if (address) return GuestRange{*address, size};
  // The kernel's end may lie amid a page, where the initrd cannot begin.
  const uint64_t start = (End(kernel.window) + kPageSize - 1) & -kPageSize;
  if (start > limit || size > limit - start) {
    return absl::InvalidArgumentError(
        absl::StrFormat("initrd of %d MiB does not fit: this kernel takes one only below %#x",
                        CeilMiB(size), limit));
  }
  return absl::ResourceExhaustedError(absl::StrFormat(
      "initrd does not fit: with this kernel and this initrd of %d MiB the guest needs "
      "at least %d MiB of memory, has %d MiB",
      CeilMiB(size), CeilMiB(start + size), low_end / kMiB));
}

absl::Status WriteCommandLine(const GuestMemory& memory, const std::string& line, uint64_t limit) {
  limit = std::min(limit, kCommandLineArea.size - 1);
  if (line.size() > limit) {
    return absl::InvalidArgumentError(absl::StrFormat(
        "kernel command line of %d bytes; this kernel takes %d", line.size(), limit));
  }
  if (line.find('\0') != std::string::npos) {
    return absl::InvalidArgumentError("kernel command line with a NUL in it");
  }
  const auto* bytes = reinterpret_cast<const uint8_t*>(line.c_str());
  return memory.Write(kCommandLineArea.start, absl::MakeConstSpan(bytes, line.size() + 1));
}

}  // namespace

absl::StatusOr<BootEntry> LoadGuest(const GuestMemory& memory, const BootSources& sources) {
  ASSIGN_OR_RETURN(FileSource file, FileSource::Open(sources.kernel_fd, "kernel"));
  ASSIGN_OR_RETURN(const KernelImage image, ParseKernelImage(file));
  const Demands kernel = std::visit([](const auto& parsed) { return DemandsOf(parsed); }, image);

  if (!sources.setup_data.empty() && !std::holds_alternative<BzImage>(image)) {
    return absl::InvalidArgumentError("setup data needs a kernel entered as a bzImage");
  }

  Handover handover;
  handover.kernel = kernel.window.start;
  handover.command_line = kCommandLineArea.start;
  ASSIGN_OR_RETURN(handover.memory_map, BuildMemoryMap(memory));
  const uint64_t low_end = LowMemoryEnd(memory).value();
  if (End(kernel.window) > low_end) {
    return absl::ResourceExhaustedError(
        absl::StrFormat("guest memory too small for this kernel: needs at least %d MiB, has %d MiB",
                        CeilMiB(End(kernel.window)), low_end / kMiB));
  }
  if (sources.initrd_fd >= 0) {
    ASSIGN_OR_RETURN(FileSource initrd, FileSource::Open(sources.initrd_fd, "initrd"));
    ASSIGN_OR_RETURN(handover.initrd, PlaceInitrd(initrd.size(), kernel, low_end));
  }

  RETURN_IF_ERROR(WriteCommandLine(memory, sources.command_line, kernel.max_command_line));
  ASSIGN_OR_RETURN(handover.rsdp, WriteAcpiTables(memory, sources.vcpu_count));
  RETURN_IF_ERROR(Annotate(
      std::visit([&](const auto& parsed) { return LoadKernel(memory, sources.kernel_fd, parsed); },
                 image),
      "kernel"));
  if (handover.initrd.size > 0) {
    RETURN_IF_ERROR(Annotate(
        memory.ReadFromFd(sources.initrd_fd, 0, handover.initrd.start, handover.initrd.size),
        "initrd"));
  }

  if (const auto* linux = std::get_if<BzImage>(&image)) {
    ASSIGN_OR_RETURN(handover.setup_data, WriteSetupData(memory, sources.setup_data));
    RETURN_IF_ERROR(WriteZeroPage(memory, linux->header, handover));
    return BootEntry{BootEntry::Protocol::kLinux64,
                     GuestAddress(kernel.window.start.value() + kLinux64EntryOffset),
                     kZeroPageAddress};
  }
  RETURN_IF_ERROR(WriteStartInfo(memory, handover));
  return BootEntry{BootEntry::Protocol::kPvh, std::get<ElfKernel>(image).entry, kStartInfoAddress};
}

}  // namespace vmm
