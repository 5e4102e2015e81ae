#include "base/tree.h"

#include <libfdt.h>
#include <string.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "base/status.h"

namespace vmm {
namespace {

// Devicetree Specification v0.4, 5.2.
constexpr uint32_t kFdtVersion = 17;

std::string Describe(const Tree& node) {
  return node.name().empty() ? "the root node" : absl::StrCat("node \"", node.name(), "\"");
}

template <typename T>
void StoreBigEndian(T value, uint8_t* out) {
  for (size_t i = 0; i < sizeof(T); ++i) {
    out[i] = static_cast<uint8_t>(value >> (8 * (sizeof(T) - 1 - i)));
  }
}

template <typename T>
T LoadBigEndian(const uint8_t* bytes) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>(value << 8) | bytes[i];
  return value;
}

absl::Status CheckName(absl::string_view name, absl::string_view what) {
  if (name.size() > kMaxTreeNameLength) {
    return absl::InvalidArgumentError(
        absl::StrCat(what, " name of ", name.size(), " bytes; at most ", kMaxTreeNameLength));
  }
  for (char c : name) {
    if (c <= ' ' || c > '~' || c == '/') {
      return absl::InvalidArgumentError(
          absl::StrCat(what, " name with a character that a device tree cannot hold"));
    }
  }
  return absl::OkStatus();
}

// An upper bound of a node's flattened size, and the checks that libfdt leaves to its caller.
absl::Status Measure(const Tree& node, int depth, size_t* bytes, size_t* nodes) {
  if (depth > kMaxTreeDepth) return absl::InvalidArgumentError("tree too deep");
  if (++*nodes > kMaxTreeNodes) return absl::InvalidArgumentError("tree of too many nodes");
  RETURN_IF_ERROR(CheckName(node.name(), "node"));
  if (node.properties().size() > kMaxTreeProperties) {
    return absl::InvalidArgumentError(absl::StrCat(Describe(node), " has too many properties"));
  }
  if (depth > 0 && node.name().empty()) return absl::InvalidArgumentError("child without a name");
  // Begin and end tags, and the name with its NUL, padded.
  *bytes += 8 + node.name().size() + 4;
  for (const auto& [name, value] : node.properties()) {
    RETURN_IF_ERROR(CheckName(name, "property"));
    if (name.empty()) return absl::InvalidArgumentError("property without a name");
    // Tag, length, name offset, padded value, and the name once in the strings block.
    *bytes += 12 + value.size() + 4 + name.size() + 1;
    if (*bytes > kMaxTreeBytes) return absl::InvalidArgumentError("tree too large");
  }
  for (const Tree& child : node.children()) {
    RETURN_IF_ERROR(Measure(child, depth + 1, bytes, nodes));
  }
  return absl::OkStatus();
}

int Flatten(const Tree& node, void* fdt) {
  if (int error = fdt_begin_node(fdt, node.name().c_str())) return error;
  for (const auto& [name, value] : node.properties()) {
    if (int error = fdt_property(fdt, name.c_str(), value.data(), static_cast<int>(value.size()))) {
      return error;
    }
  }
  for (const Tree& child : node.children()) {
    if (int error = Flatten(child, fdt)) return error;
  }
  return fdt_end_node(fdt);
}

// libfdt 1.6.1 adds up a property's length without minding overflow: where the sum wraps to
// the property itself, every walk over the tree, fdt_check_full()'s too, goes on forever.
absl::Status CheckTagsAdvance(const void* fdt, size_t size) {
  int error = fdt_check_header(fdt);
  if (error == 0 && fdt_totalsize(fdt) > size) error = -FDT_ERR_TRUNCATED;
  int offset = 0;
  int next = 0;
  for (; error == 0 && fdt_next_tag(fdt, offset, &next) != FDT_END; offset = next) {
    if (next <= offset) error = -FDT_ERR_BADSTRUCTURE;
  }
  if (error == 0) return absl::OkStatus();
  return absl::InvalidArgumentError(absl::StrCat("malformed tree: ", fdt_strerror(error)));
}

absl::Status Unflatten(const void* fdt, int offset, int depth, size_t* nodes, Tree* node) {
  if (depth > kMaxTreeDepth) return absl::InvalidArgumentError("tree too deep");
  if (++*nodes > kMaxTreeNodes) return absl::InvalidArgumentError("tree of too many nodes");
  int property;
  fdt_for_each_property_offset(property, fdt, offset) {
    const char* name = nullptr;
    int length = 0;
    const void* value = fdt_getprop_by_offset(fdt, property, &name, &length);
    if (value == nullptr || name == nullptr || length < 0) {
      return absl::InvalidArgumentError("malformed property");
    }
    RETURN_IF_ERROR(CheckName(name, "property"));
    if (*name == '\0') return absl::InvalidArgumentError("property without a name");
    if (node->properties().size() == kMaxTreeProperties) {
      return absl::InvalidArgumentError(absl::StrCat(Describe(*node), " has too many properties"));
    }
    if (node->Has(name)) {
      return absl::InvalidArgumentError(absl::StrCat("property \"", name, "\" twice in one node"));
    }
    node->SetBytes(name, absl::MakeConstSpan(static_cast<const uint8_t*>(value), length));
  }
  int child;
  fdt_for_each_subnode(child, fdt, offset) {
    int length = 0;
    const char* name = fdt_get_name(fdt, child, &length);
    if (name == nullptr || length <= 0) return absl::InvalidArgumentError("malformed node");
    RETURN_IF_ERROR(CheckName(absl::string_view(name, length), "node"));
    Tree& added = node->AddChild(Tree(absl::string_view(name, length)));
    RETURN_IF_ERROR(Unflatten(fdt, child, depth + 1, nodes, &added));
  }
  if (child != -FDT_ERR_NOTFOUND) return absl::InvalidArgumentError("malformed node");
  return absl::OkStatus();
}

}  // namespace

absl::string_view Tree::base_name() const {
  absl::string_view name = name_;
  return name.substr(0, name.find('@'));
}

void Tree::SetBytes(absl::string_view name, absl::Span<const uint8_t> value) {
  Bytes bytes(value.begin(), value.end());
  for (auto& [existing, old] : properties_) {
    if (existing == name) {
      old = std::move(bytes);
      return;
    }
  }
  properties_.emplace_back(std::string(name), std::move(bytes));
}

void Tree::SetU32(absl::string_view name, uint32_t value) {
  uint8_t bytes[sizeof(value)];
  StoreBigEndian(value, bytes);
  SetBytes(name, bytes);
}

void Tree::SetU64(absl::string_view name, uint64_t value) {
  uint8_t bytes[sizeof(value)];
  StoreBigEndian(value, bytes);
  SetBytes(name, bytes);
}

void Tree::SetString(absl::string_view name, absl::string_view value) {
  Bytes bytes(value.begin(), value.end());
  bytes.push_back(0);
  SetBytes(name, bytes);
}

const Tree::Bytes* Tree::Find(absl::string_view name) const {
  for (const auto& [existing, value] : properties_) {
    if (existing == name) return &value;
  }
  return nullptr;
}

absl::StatusOr<absl::Span<const uint8_t>> Tree::GetBytes(absl::string_view name) const {
  const Bytes* value = Find(name);
  if (value == nullptr) {
    return absl::NotFoundError(absl::StrCat("no property \"", name, "\" in ", Describe(*this)));
  }
  return absl::MakeConstSpan(*value);
}

absl::Status Tree::CopyExact(absl::string_view name, uint8_t* out, size_t size) const {
  ASSIGN_OR_RETURN(absl::Span<const uint8_t> bytes, GetBytes(name));
  if (bytes.size() != size) {
    return absl::InvalidArgumentError(absl::StrCat("property \"", name, "\" of ", Describe(*this),
                                                   " has ", bytes.size(), " bytes, not ", size));
  }
  std::copy(bytes.begin(), bytes.end(), out);
  return absl::OkStatus();
}

absl::StatusOr<uint32_t> Tree::GetU32(absl::string_view name) const {
  uint8_t bytes[sizeof(uint32_t)];
  RETURN_IF_ERROR(CopyExact(name, bytes, sizeof(bytes)));
  return LoadBigEndian<uint32_t>(bytes);
}

absl::StatusOr<uint64_t> Tree::GetU64(absl::string_view name) const {
  uint8_t bytes[sizeof(uint64_t)];
  RETURN_IF_ERROR(CopyExact(name, bytes, sizeof(bytes)));
  return LoadBigEndian<uint64_t>(bytes);
}

absl::StatusOr<std::string> Tree::GetString(absl::string_view name) const {
  ASSIGN_OR_RETURN(absl::Span<const uint8_t> bytes, GetBytes(name));
  if (bytes.empty() || std::find(bytes.begin(), bytes.end(), 0) != bytes.end() - 1) {
    return absl::InvalidArgumentError(
        absl::StrCat("property \"", name, "\" of ", Describe(*this), " is not one string"));
  }
  return std::string(bytes.begin(), bytes.end() - 1);
}

Tree& Tree::AddChild(Tree child) {
  children_.push_back(std::move(child));
  return children_.back();
}

absl::StatusOr<const Tree*> Tree::Child(absl::string_view name) const {
  for (const Tree& child : children_) {
    if (child.name() == name) return &child;
  }
  return absl::NotFoundError(absl::StrCat("no node \"", name, "\" in ", Describe(*this)));
}

absl::StatusOr<std::vector<uint8_t>> EncodeTree(const Tree& root) {
  size_t bytes = 0;
  size_t nodes = 0;
  RETURN_IF_ERROR(Measure(root, 0, &bytes, &nodes));
  // Header, empty reservation map, end tag, alignment.
  std::vector<uint8_t> fdt(bytes + sizeof(fdt_header) + 64);
  int error = fdt_create(fdt.data(), static_cast<int>(fdt.size()));
  if (error == 0) error = fdt_finish_reservemap(fdt.data());
  if (error == 0) error = Flatten(root, fdt.data());
  if (error == 0) error = fdt_finish(fdt.data());
  if (error != 0) {
    return absl::InvalidArgumentError(absl::StrCat("cannot flatten: ", fdt_strerror(error)));
  }
  fdt.resize(fdt_totalsize(fdt.data()));
  return fdt;
}

absl::StatusOr<Tree> DecodeTree(absl::Span<const uint8_t> bytes) {
  if (bytes.size() > kMaxTreeBytes) return absl::InvalidArgumentError("tree too large");
  if (bytes.size() < sizeof(fdt_header)) return absl::InvalidArgumentError("tree cut short");
  // libfdt wants 8-byte alignment; the caller's bytes may lie anywhere.
  std::vector<uint64_t> aligned((bytes.size() + 7) / 8);
  memcpy(aligned.data(), bytes.data(), bytes.size());
  // Older versions lay nodes out otherwise, and libfdt's full check dereferences null on them.
  if (fdt_magic(aligned.data()) != FDT_MAGIC || fdt_version(aligned.data()) != kFdtVersion) {
    return absl::InvalidArgumentError("not a flattened device tree of version 17");
  }
  RETURN_IF_ERROR(CheckTagsAdvance(aligned.data(), bytes.size()));
  if (int error = fdt_check_full(aligned.data(), bytes.size())) {
    return absl::InvalidArgumentError(absl::StrCat("malformed tree: ", fdt_strerror(error)));
  }
  Tree root;
  size_t nodes = 0;
  RETURN_IF_ERROR(Unflatten(aligned.data(), 0, 0, &nodes, &root));
  return root;
}

}  // namespace vmm
