// Tree: the one container in which the project's structured bytes travel: a frozen VM's state, the
// manifest, and the messages between luod, vmm and luoctl. In memory it is a node with named
// properties and child nodes; as bytes it is a flattened device tree (Devicetree Specification
// v0.4, chapter 5), so `dtc` and `fdtdump` can show any of them.
//
//   Tree node("serial@3f8");
//   node.SetString("compatible", "vmm,ns16550-v1");
//   node.SetU32("divisor", 12);
//   ASSIGN_OR_RETURN(std::vector<uint8_t> bytes, EncodeTree(root));
//   ASSIGN_OR_RETURN(Tree again, DecodeTree(bytes));
//   ASSIGN_OR_RETURN(uint32_t divisor, again.children()[0].GetU32("divisor"));
//
// Numbers are stored big-endian, strings with their NUL, as device trees have them. Getters check
// the size and say which property of which node is missing or misshapen; they never read outside a
// property. Reading is safe for bytes from anywhere: DecodeTree() refuses what is malformed, too
// deep or too large (the limits are below).
//
// A Tree is a value: copied and moved freely, no thread safety beyond that of a value.
#ifndef BASE_TREE_H_
#define BASE_TREE_H_

#include <stddef.h>
#include <stdint.h>

#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"

namespace vmm {

class Tree {
 public:
  using Bytes = std::vector<uint8_t>;

  // `name` is the node's name with its unit address ("vcpu@3"); the root's is "".
  explicit Tree(absl::string_view name = "") : name_(name) {}

  const std::string& name() const { return name_; }
  // The part of the name before '@'.
  absl::string_view base_name() const;

  // Properties, in the order they were set. Setting a name again replaces its value.
  void SetBytes(absl::string_view name, absl::Span<const uint8_t> value);
  void SetU32(absl::string_view name, uint32_t value);
  void SetU64(absl::string_view name, uint64_t value);
  // `value` must not contain NUL: what follows one would be lost.
  void SetString(absl::string_view name, absl::string_view value);
  // A property of no bytes whose presence means true.
  void SetFlag(absl::string_view name) { SetBytes(name, {}); }
  // The bytes of a trivially copyable ABI structure, as they lie in memory (little-endian, for
  // KVM's structures).
  template <typename T>
  void SetStruct(absl::string_view name, const T& value) {
    static_assert(std::is_trivially_copyable_v<T>);
    SetBytes(name, absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(&value), sizeof(T)));
  }

  bool Has(absl::string_view name) const { return Find(name) != nullptr; }
  // kNotFound when there is no such property, kInvalidArgument when its shape is another.
  absl::StatusOr<absl::Span<const uint8_t>> GetBytes(absl::string_view name) const;
  absl::StatusOr<uint32_t> GetU32(absl::string_view name) const;
  absl::StatusOr<uint64_t> GetU64(absl::string_view name) const;
  absl::StatusOr<std::string> GetString(absl::string_view name) const;
  template <typename T>
  absl::StatusOr<T> GetStruct(absl::string_view name) const {
    static_assert(std::is_trivially_copyable_v<T>);
    T value;
    absl::Status status = CopyExact(name, reinterpret_cast<uint8_t*>(&value), sizeof(T));
    if (!status.ok()) return status;
    return value;
  }

  const std::vector<std::pair<std::string, Bytes>>& properties() const { return properties_; }

  // Children, in order. References stay valid until the next Add.
  Tree& AddChild(Tree child);
  const std::vector<Tree>& children() const { return children_; }
  std::vector<Tree>& mutable_children() { return children_; }
  // The first child with this whole name; kNotFound says which node lacks it.
  absl::StatusOr<const Tree*> Child(absl::string_view name) const;

 private:
  const Bytes* Find(absl::string_view name) const;
  absl::Status CopyExact(absl::string_view name, uint8_t* out, size_t size) const;

  std::string name_;
  std::vector<std::pair<std::string, Bytes>> properties_;
  std::vector<Tree> children_;
};

// Limits of both directions; past them is kInvalidArgument.
inline constexpr size_t kMaxTreeBytes = size_t{64} << 20;
inline constexpr int kMaxTreeDepth = 8;
inline constexpr size_t kMaxTreeNodes = 65536;
// Of one node. Properties are found by walking through them, so this also bounds the time a hostile
// tree can take.
inline constexpr size_t kMaxTreeProperties = 256;
inline constexpr size_t kMaxTreeNameLength = 63;

// Flattens. Fails only past the limits or for names that a device tree cannot hold (empty property
// name, '/', NUL).
absl::StatusOr<std::vector<uint8_t>> EncodeTree(const Tree& root);

// Unflattens bytes from anywhere.
absl::StatusOr<Tree> DecodeTree(absl::Span<const uint8_t> bytes);

}  // namespace vmm

#endif  // BASE_TREE_H_
