#include "vmm/boot/aml.h"

#include <initializer_list>

namespace vmm {
namespace {

// Opcodes: ACPI 6.3, table 20-444 and on.
constexpr uint8_t kZero = 0x00;
constexpr uint8_t kOne = 0x01;
constexpr uint8_t kName = 0x08;
constexpr uint8_t kBytePrefix = 0x0a;
constexpr uint8_t kWordPrefix = 0x0b;
constexpr uint8_t kDwordPrefix = 0x0c;
constexpr uint8_t kStringPrefix = 0x0d;
constexpr uint8_t kQwordPrefix = 0x0e;
constexpr uint8_t kScope = 0x10;
constexpr uint8_t kBuffer = 0x11;
constexpr uint8_t kPackage = 0x12;
constexpr uint8_t kExtended = 0x5b;
constexpr uint8_t kDevice = 0x82;
constexpr uint8_t kRoot = '\\';

void AppendText(Aml& to, absl::string_view text) { to.insert(to.end(), text.begin(), text.end()); }

// `opcode`, then a PkgLength over `head` and `body`.
Aml Sized(std::initializer_list<uint8_t> opcode, const Aml& head, absl::Span<const uint8_t> body) {
  Aml term(opcode);
  Append(term, AmlPackageLength(static_cast<uint32_t>(head.size() + body.size())));
  Append(term, head);
  Append(term, body);
  return term;
}

}  // namespace

void Append(Aml& to, absl::Span<const uint8_t> bytes) {
  to.insert(to.end(), bytes.begin(), bytes.end());
}

Aml AmlPackageLength(uint32_t content_size) {
  if (content_size + 1 < 0x40) return {static_cast<uint8_t>(content_size + 1)};
  // The first byte holds how many follow and the low nibble; each that follows holds eight bits
  // more.
  uint8_t following = 1;
  while (content_size + 1 + following >= uint32_t{1} << (4 + 8 * following)) ++following;
  const uint32_t size = content_size + 1 + following;
  Aml length = {static_cast<uint8_t>(following << 6 | (size & 0xf))};
  for (uint32_t rest = size >> 4; following > 0; --following, rest >>= 8) {
    length.push_back(static_cast<uint8_t>(rest));
  }
  return length;
}

Aml AmlInteger(uint64_t value) {
  if (value == 0) return {kZero};
  if (value == 1) return {kOne};
  Aml integer;
  int bytes;
  if (value <= 0xff) {
    integer = {kBytePrefix};
    bytes = 1;
  } else if (value <= 0xffff) {
    integer = {kWordPrefix};
    bytes = 2;
  } else if (value <= 0xffffffff) {
    integer = {kDwordPrefix};
    bytes = 4;
  } else {
    integer = {kQwordPrefix};
    bytes = 8;
  }
  for (; bytes > 0; --bytes, value >>= 8) integer.push_back(static_cast<uint8_t>(value));
  return integer;
}

Aml AmlString(absl::string_view text) {
  Aml string = {kStringPrefix};
  AppendText(string, text);
  string.push_back(0);
  return string;
}

Aml AmlBuffer(absl::Span<const uint8_t> bytes) {
  return Sized({kBuffer}, AmlInteger(bytes.size()), bytes);
}

Aml AmlPackage(absl::Span<const Aml> elements) {
  Aml body;
  for (const Aml& element : elements) Append(body, element);
  return Sized({kPackage}, {static_cast<uint8_t>(elements.size())}, body);
}

Aml AmlName(absl::string_view name, absl::Span<const uint8_t> data) {
  Aml term = {kName};
  AppendText(term, name);
  Append(term, data);
  return term;
}

Aml AmlDevice(absl::string_view name, absl::Span<const uint8_t> body) {
  return Sized({kExtended, kDevice}, Aml(name.begin(), name.end()), body);
}

Aml AmlRootScope(absl::string_view name, absl::Span<const uint8_t> body) {
  Aml path = {kRoot};
  AppendText(path, name);
  return Sized({kScope}, path, body);
}

}  // namespace vmm
