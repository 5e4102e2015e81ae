// The bytes of Kexec HandOver, "kho-v4", as Linux 7.3 lays them out: what a kernel leaves in memory
// so that the next one finds the pages it must not touch. KHO.md beside this file is the
// description; this header is the layout.
//
//   const uint64_t key = abi::EncodeRadixKey(/*physical=*/0x40000000, /*order=*/9);
//   std::optional<abi::RadixEntry> entry = abi::DecodeRadixKey(key);  // {0x40000000, 9}
//
// Addresses are physical, in bytes; sizes in bytes, except where a name says pages; an order n
// means 2^n pages. All numbers are stored in the machine's byte order, which here is little-endian,
// in the device tree's properties too. Pages have 4096 bytes: KHO hands nothing over between
// kernels of different page sizes. Sources: include/linux/kho/abi/kexec_handover.h,
// kexec_metadata.h; kernel/liveupdate/kexec_handover.c.
#ifndef LUO_KERNEL_ABI_KHO_V4_H_
#define LUO_KERNEL_ABI_KHO_V4_H_

#include <stddef.h>
#include <stdint.h>

#include <bit>
#include <optional>

namespace luo::abi {

static_assert(std::endian::native == std::endian::little, "kho-v4 is read and written in place");

inline constexpr unsigned kPageShift = 12;
inline constexpr uint64_t kPageSize = uint64_t{1} << kPageShift;

// --- The root: a flattened device tree in one page. ---

inline constexpr char kKhoCompatible[] = "kho-v4";
inline constexpr char kKhoCompatibleProperty[] = "compatible";
// u64: where the radix tree's root node lies.
inline constexpr char kKhoMemoryMapProperty[] = "preserved-memory-map";
// Of each child node, u64 both: where the blob of the subsystem that names the node lies, and its
// size.
inline constexpr char kKhoSubtreeAddressProperty[] = "preserved-data";
inline constexpr char kKhoSubtreeSizeProperty[] = "blob-size";
inline constexpr uint64_t kKhoRootSize = kPageSize;

// --- Older versions, of which only the subtrees are read here. They list what is preserved by
// --- other means, or place keys otherwise.
inline constexpr char kKhoV1Compatible[] = "kho-v1";  // the address in "fdt", no size
inline constexpr char kKhoV2Compatible[] = "kho-v2";  // the address in "preserved-data", no size
inline constexpr char kKhoV3Compatible[] = "kho-v3";  // as kho-v4
inline constexpr char kKhoV1SubtreeAddressProperty[] = "fdt";

// --- How the next kernel is told of the root: on x86 by setup_data of type SETUP_KEXEC_KHO (10).
// --- arch/x86/include/uapi/asm/setup_data.h, struct kho_data.
struct [[gnu::packed]] KhoData {
  uint64_t root_address;
  uint64_t root_size;
  uint64_t scratch_address;  // an array of Scratch
  uint64_t scratch_size;     // of that array, in bytes
};
static_assert(sizeof(KhoData) == 32);
static_assert(offsetof(KhoData, root_address) == 0);
static_assert(offsetof(KhoData, root_size) == 8);
static_assert(offsetof(KhoData, scratch_address) == 16);
static_assert(offsetof(KhoData, scratch_size) == 24);

// Memory in which nothing is preserved: the next kernel lives in it until it knows what is.
// include/asm-generic/kexec_handover.h, struct kho_scratch.
struct Scratch {
  uint64_t address;
  uint64_t size;
};
static_assert(sizeof(Scratch) == 16);
static_assert(offsetof(Scratch, address) == 0);
static_assert(offsetof(Scratch, size) == 8);

// --- The preserved memory map: a radix tree whose nodes are pages. ---

inline constexpr unsigned kRadixTableBits = 9;    // 512 addresses in a table node
inline constexpr unsigned kRadixBitmapBits = 15;  // 32768 bits in a leaf
inline constexpr unsigned kRadixKeyWidth = 64 - kPageShift + 1;
// Levels: the leaf is level 0, the root kRadixDepth - 1.
inline constexpr unsigned kRadixDepth =
    (kRadixKeyWidth - kRadixBitmapBits + kRadixTableBits - 1) / kRadixTableBits + 1;
static_assert(kRadixKeyWidth == 53 && kRadixDepth == 6);

// Of a page frame with order n; bit 52 - n of the key says the order, the bits below are the
// address over the size. The order 52, a block of 2^64 bytes, can be written as a key but never be
// preserved.
inline constexpr unsigned kMaxRadixOrder = 51;

struct RadixNode {
  uint64_t table[1 << kRadixTableBits];  // addresses of the level below, 0 where there is nothing
};
static_assert(sizeof(RadixNode) == kPageSize);

struct RadixLeaf {
  uint64_t bitmap[(1 << kRadixBitmapBits) / 64];  // key bit i is bit i % 64 of word i / 64
};
static_assert(sizeof(RadixLeaf) == kPageSize);

struct RadixEntry {
  uint64_t address;
  unsigned order;
  friend constexpr bool operator==(const RadixEntry&, const RadixEntry&) = default;
};

// `order` at most kMaxRadixOrder; address bits below the order are lost.
constexpr uint64_t EncodeRadixKey(uint64_t address, unsigned order) {
  const unsigned shift = kPageShift + order;
  return uint64_t{1} << (64 - shift) | address >> shift;
}

// nullopt for a number that encodes nothing: 0, a key wider than kRadixKeyWidth, or one of
// order 52.
constexpr std::optional<RadixEntry> DecodeRadixKey(uint64_t key) {
  const int width = std::bit_width(key);
  if (width < 2 || width > static_cast<int>(kRadixKeyWidth)) return std::nullopt;
  const unsigned order = kRadixKeyWidth - static_cast<unsigned>(width);
  // The order's bit goes over the top.
  return RadixEntry{key << (kPageShift + order), order};
}

// Where a key's path goes: the slot in the table of `level` (1 to kRadixDepth - 1), and the bit in
// the leaf.
constexpr unsigned RadixTableIndex(uint64_t key, unsigned level) {
  return (key >> ((level - 1) * kRadixTableBits + kRadixBitmapBits)) &
         ((1U << kRadixTableBits) - 1);
}
constexpr unsigned RadixBitmapIndex(uint64_t key) { return key & ((1U << kRadixBitmapBits) - 1); }

static_assert(EncodeRadixKey(0, 0) == uint64_t{1} << 52);
static_assert(EncodeRadixKey(0x1000, 0) == (uint64_t{1} << 52 | 1));
static_assert(EncodeRadixKey(0x200000, 9) == (uint64_t{1} << 43 | 1));
static_assert(*DecodeRadixKey(uint64_t{1} << 43 | 3) == RadixEntry{0x600000, 9});
static_assert(!DecodeRadixKey(0) && !DecodeRadixKey(1) && !DecodeRadixKey(uint64_t{1} << 53));

// --- Vmalloc areas: memory that is contiguous in virtual addresses only. ---

inline constexpr unsigned kVmallocAddressesPerChunk = kPageSize / sizeof(uint64_t) - 1;

// A page; `next` is the address of the next chunk or 0. The list of addresses ends at the first 0
// or at the end.
struct VmallocChunk {
  uint64_t next;
  uint64_t addresses[kVmallocAddressesPerChunk];
};
static_assert(sizeof(VmallocChunk) == kPageSize);
static_assert(offsetof(VmallocChunk, addresses) == 8);

// Describes an area; lies inside the structures of whoever preserves one.
struct Vmalloc {
  uint64_t first;        // address of the first chunk
  uint32_t total_pages;  // of 4 KiB
  uint16_t flags;        // kVmalloc...
  uint16_t order;        // of the block at each address
};
static_assert(sizeof(Vmalloc) == 16);
static_assert(offsetof(Vmalloc, first) == 0);
static_assert(offsetof(Vmalloc, total_pages) == 8);
static_assert(offsetof(Vmalloc, flags) == 12);
static_assert(offsetof(Vmalloc, order) == 14);

inline constexpr uint16_t kVmallocAlloc = 0x0001;     // VM_ALLOC
inline constexpr uint16_t kVmallocHugeVmap = 0x0002;  // VM_ALLOW_HUGE_VMAP
inline constexpr uint16_t kVmallocKnownFlags = kVmallocAlloc | kVmallocHugeVmap;

// --- The subtree "kexec-metadata": which kernel came before, and how many kexecs ago the machine
// was started. ---

inline constexpr char kKexecMetadataName[] = "kexec-metadata";
inline constexpr uint32_t kKexecMetadataVersion = 1;

struct [[gnu::packed]] KexecMetadata {
  uint32_t version;
  char previous_release[65];  // as uname -r, with a NUL
  uint32_t kexec_count;
};
static_assert(sizeof(KexecMetadata) == 73);
static_assert(offsetof(KexecMetadata, previous_release) == 4);
static_assert(offsetof(KexecMetadata, kexec_count) == 69);

}  // namespace luo::abi

#endif  // LUO_KERNEL_ABI_KHO_V4_H_
