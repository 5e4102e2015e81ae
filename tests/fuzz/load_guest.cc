#include "tests/fuzz/load_guest.h"

#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/unique_fd.h"
#include "guest_memory/guest_memory.h"
#include "vmm/boot/loader.h"

namespace vmm {
namespace {

// Small, so that filling a hostile image's segments costs little.
constexpr uint64_t kRamSize = 8 << 20;

UniqueFd FileWith(absl::Span<const uint8_t> bytes) {
  UniqueFd fd(memfd_create("fuzz-input", MFD_CLOEXEC));
  if (write(fd.get(), bytes.data(), bytes.size()) != static_cast<ssize_t>(bytes.size())) abort();
  return fd;
}

}  // namespace

void LoadAsGuest(absl::Span<const uint8_t> kernel) {
  static const absl::StatusOr<GuestMemory>& memory = *new absl::StatusOr<GuestMemory>(
      GuestMemory::Create({.size = kRamSize, .huge_pages = HugePages::kOff}));
  if (!memory.ok()) abort();
  const UniqueFd file = FileWith(kernel);
  // The kernel is its own initrd: any file would do.
  for (int initrd : {-1, file.get()}) {
    const auto entry = LoadGuest(
        *memory, {.kernel_fd = file.get(), .initrd_fd = initrd, .command_line = "console=ttyS0"});
    if (entry.ok() && !memory->Load<uint8_t>(entry->entry).ok()) abort();
  }
}

}  // namespace vmm
