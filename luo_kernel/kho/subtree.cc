#include "luo_kernel/kho/subtree.h"

#include <libfdt.h>
#include <string.h>

#include <algorithm>
#include <utility>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "base/tree.h"
#include "luo_kernel/abi/kho_v4.h"

namespace luo {
namespace {

// More than the one page of kho-v4 is no root.
constexpr uint64_t kMaxRootSize = 16 * abi::kPageSize;

absl::Status Corrupt(absl::string_view what) {
  return absl::DataLossError(absl::StrCat("KHO root: ", what));
}

// As libfdt's fdt_node_check_compatible(): one of the property's strings has to be ours.
absl::Status CheckCompatible(const vmm::Tree& tree) {
  const auto bytes = tree.GetBytes(abi::kKhoCompatibleProperty);
  if (!bytes.ok()) return Corrupt("no compatible string");
  absl::string_view list(reinterpret_cast<const char*>(bytes->data()), bytes->size());
  if (list.empty() || list.back() != '\0') return Corrupt("the compatible string has no end");
  list.remove_suffix(1);
  for (absl::string_view one : absl::StrSplit(list, '\0')) {
    if (one == abi::kKhoCompatible) return absl::OkStatus();
  }
  return absl::FailedPreconditionError(
      absl::StrCat("KHO root: it is \"", absl::CHexEscape(list.substr(0, 64)),
                   "\", and this understands \"", abi::kKhoCompatible, "\""));
}

absl::StatusOr<Subtree> ReadSubtree(const vmm::Tree& node) {
  Subtree subtree;
  subtree.name = node.name();
  const auto address = node.GetStruct<uint64_t>(abi::kKhoSubtreeAddressProperty);
  if (!address.ok()) return Corrupt(address.status().message());
  const auto size = node.GetStruct<uint64_t>(abi::kKhoSubtreeSizeProperty);
  if (!size.ok()) return Corrupt(size.status().message());
  subtree.address = PhysicalAddress(*address);
  subtree.size = *size;
  return subtree;
}

// The root's page, for libfdt to change, after a look at what is in it.
absl::StatusOr<void*> OpenRoot(WritablePhysicalMemory& memory, PhysicalAddress root) {
  RETURN_IF_ERROR(ReadHandoverRoot(memory, root, abi::kKhoRootSize).status());
  ASSIGN_OR_RETURN(absl::Span<std::byte> page, memory.Write(root, abi::kKhoRootSize));
  // The room behind the tree becomes the tree's.
  if (int error = fdt_open_into(page.data(), page.data(), abi::kKhoRootSize)) {
    return Corrupt(fdt_strerror(error));
  }
  return page.data();
}

bool IsNodeName(absl::string_view name) {
  return !name.empty() && name.size() <= vmm::kMaxTreeNameLength &&
         std::all_of(name.begin(), name.end(),
                     [](char c) { return c > ' ' && c <= '~' && c != '/'; });
}

}  // namespace

absl::StatusOr<HandoverRoot> ReadHandoverRoot(const PhysicalMemory& memory, PhysicalAddress address,
                                              uint64_t size) {
  if (size == 0 || size > kMaxRootSize) {
    return Corrupt(absl::StrCat("it cannot have ", size, " bytes"));
  }
  ASSIGN_OR_RETURN(absl::Span<const std::byte> bytes, memory.Read(address, size));
  const absl::StatusOr<vmm::Tree> tree = vmm::DecodeTree(
      absl::MakeConstSpan(reinterpret_cast<const uint8_t*>(bytes.data()), bytes.size()));
  if (!tree.ok()) return Corrupt(tree.status().message());
  RETURN_IF_ERROR(CheckCompatible(*tree));
  const auto memory_map = tree->GetStruct<uint64_t>(abi::kKhoMemoryMapProperty);
  if (!memory_map.ok()) return Corrupt(memory_map.status().message());
  if (*memory_map == 0) return Corrupt("no map of preserved memory");
  HandoverRoot root;
  root.memory_map = PhysicalAddress(*memory_map);
  for (const vmm::Tree& node : tree->children()) {
    ASSIGN_OR_RETURN(Subtree subtree, ReadSubtree(node));
    if (subtree.size != 0 && !memory.Contains(subtree.address, subtree.size)) {
      return absl::OutOfRangeError(absl::StrCat("KHO root: \"", subtree.name, "\", ", subtree.size,
                                                " bytes at ", ToString(subtree.address),
                                                ", lies outside memory"));
    }
    for (const Subtree& other : root.subtrees) {
      if (other.name == subtree.name) return Corrupt(absl::StrCat("two of \"", other.name, "\""));
    }
    root.subtrees.push_back(std::move(subtree));
  }
  return root;
}

absl::Status WriteHandoverRoot(WritablePhysicalMemory& memory, PhysicalAddress address,
                               PhysicalAddress memory_map) {
  ASSIGN_OR_RETURN(absl::Span<std::byte> page, memory.Write(address, abi::kKhoRootSize));
  void* fdt = page.data();
  const uint64_t map = memory_map.value();
  int error = fdt_create(fdt, abi::kKhoRootSize);
  if (error == 0) error = fdt_finish_reservemap(fdt);
  if (error == 0) error = fdt_begin_node(fdt, "");
  if (error == 0) {
    error = fdt_property_string(fdt, abi::kKhoCompatibleProperty, abi::kKhoCompatible);
  }
  if (error == 0) error = fdt_property(fdt, abi::kKhoMemoryMapProperty, &map, sizeof(map));
  if (error == 0) error = fdt_end_node(fdt);
  if (error == 0) error = fdt_finish(fdt);
  if (error == 0) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("cannot write a KHO root: ", fdt_strerror(error)));
}

absl::Status AddSubtree(WritablePhysicalMemory& memory, PhysicalAddress root,
                        const Subtree& subtree) {
  if (!IsNodeName(subtree.name)) {
    return absl::InvalidArgumentError(
        absl::StrCat("\"", absl::CHexEscape(subtree.name), "\" cannot name a subtree"));
  }
  ASSIGN_OR_RETURN(void* fdt, OpenRoot(memory, root));
  const uint64_t address = subtree.address.value();
  const int node = fdt_add_subnode(fdt, 0, subtree.name.c_str());
  int error = std::min(node, 0);
  if (error == 0) {
    error = fdt_setprop(fdt, node, abi::kKhoSubtreeAddressProperty, &address, sizeof(address));
    if (error == 0) {
      error =
          fdt_setprop(fdt, node, abi::kKhoSubtreeSizeProperty, &subtree.size, sizeof(subtree.size));
    }
    if (error != 0) fdt_del_node(fdt, node);
  }
  fdt_pack(fdt);
  switch (error) {
    case 0:
      return absl::OkStatus();
    case -FDT_ERR_EXISTS:
      return absl::AlreadyExistsError(absl::StrCat("there is a subtree \"", subtree.name, "\""));
    case -FDT_ERR_NOSPACE:
      return absl::ResourceExhaustedError("the KHO root's page is full");
    default:
      return absl::InternalError(absl::StrCat("adding a subtree: ", fdt_strerror(error)));
  }
}

absl::Status RemoveSubtree(WritablePhysicalMemory& memory, PhysicalAddress root,
                           PhysicalAddress blob) {
  ASSIGN_OR_RETURN(void* fdt, OpenRoot(memory, root));
  const uint64_t address = blob.value();
  int error = -FDT_ERR_NOTFOUND;
  int node;
  // Not by name: libfdt takes "LUO@1" for "LUO".
  fdt_for_each_subnode(node, fdt, 0) {
    int size = 0;
    const void* value = fdt_getprop(fdt, node, abi::kKhoSubtreeAddressProperty, &size);
    if (value == nullptr || size != sizeof(address) || memcmp(value, &address, sizeof(address))) {
      continue;
    }
    error = fdt_del_node(fdt, node);
    break;
  }
  fdt_pack(fdt);
  if (error == 0) return absl::OkStatus();
  if (error == -FDT_ERR_NOTFOUND) {
    return absl::NotFoundError(absl::StrCat("no subtree's blob lies at ", ToString(blob)));
  }
  return absl::InternalError(absl::StrCat("removing a subtree: ", fdt_strerror(error)));
}

}  // namespace luo
