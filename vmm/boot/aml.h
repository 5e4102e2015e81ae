// The few AML terms that the DSDT is made of, as byte strings to be concatenated (ACPI 6.3, chapter
// 20).
//
//   Aml body = AmlName("_UID", AmlInteger(0));
//   Aml device = AmlDevice("COM1", body);
//
// Names are single 4-character segments, as AML stores them ("_S5_"). Builds only what the caller
// spells out: no input from anywhere else, so nothing here can fail.
#ifndef VMM_BOOT_AML_H_
#define VMM_BOOT_AML_H_

#include <stdint.h>

#include <vector>

#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace vmm {

using Aml = std::vector<uint8_t>;

void Append(Aml& to, absl::Span<const uint8_t> bytes);

// Data: the shortest encoding of a number, a string of ASCII, raw bytes, a list.
Aml AmlInteger(uint64_t value);
Aml AmlString(absl::string_view text);
Aml AmlBuffer(absl::Span<const uint8_t> bytes);
Aml AmlPackage(absl::Span<const Aml> elements);

// Named objects.
Aml AmlName(absl::string_view name, absl::Span<const uint8_t> data);
Aml AmlDevice(absl::string_view name, absl::Span<const uint8_t> body);
// Reopens the root's child `name`.
Aml AmlRootScope(absl::string_view name, absl::Span<const uint8_t> body);

// PkgLength (20.2.4): the size of itself and of `content_size` bytes after it, in 1 to 4 bytes.
Aml AmlPackageLength(uint32_t content_size);

}  // namespace vmm

#endif  // VMM_BOOT_AML_H_
