#include "devices/vfio/pci_address.h"

#include <stddef.h>

#include <vector>

#include "absl/status/status.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_split.h"

namespace vmm {
namespace {

// 1 to `most_digits` hexadecimal digits whose value is at most `limit`.
bool ParseHex(absl::string_view text, size_t most_digits, uint32_t limit, uint32_t* value) {
  if (text.empty() || text.size() > most_digits) return false;
  *value = 0;
  for (const char c : text) {
    if (!absl::ascii_isxdigit(static_cast<unsigned char>(c))) return false;
    const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
    *value = *value * 16 + (lower <= '9' ? lower - '0' : lower - 'a' + 10);
  }
  return *value <= limit;
}

}  // namespace

absl::StatusOr<PciAddress> PciAddress::Parse(absl::string_view text) {
  const absl::Status wrong = absl::InvalidArgumentError(absl::StrCat(
      "\"", text.substr(0, 32), "\" is no PCI address, which looks like 0000:00:02.0"));
  const std::vector<absl::string_view> parts = absl::StrSplit(text, ':');
  if (parts.size() != 2 && parts.size() != 3) return wrong;
  const std::vector<absl::string_view> slot = absl::StrSplit(parts.back(), '.');
  uint32_t domain = 0, bus, device, function;
  if (parts.size() == 3 && !ParseHex(parts[0], 8, UINT32_MAX, &domain)) return wrong;
  if (slot.size() != 2 || !ParseHex(parts[parts.size() - 2], 2, 0xff, &bus) ||
      !ParseHex(slot[0], 2, 0x1f, &device) || !ParseHex(slot[1], 1, 7, &function)) {
    return wrong;
  }
  return PciAddress{.domain = domain,
                    .bus = static_cast<uint8_t>(bus),
                    .device = static_cast<uint8_t>(device),
                    .function = static_cast<uint8_t>(function)};
}

std::string PciAddress::ToString() const {
  return absl::StrFormat("%04x:%02x:%02x.%x", domain, bus, device, function);
}

}  // namespace vmm
