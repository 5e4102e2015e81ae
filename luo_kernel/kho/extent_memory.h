// ExtentMemory: a machine's physical memory, made of extents of files. A memfd's pages get physical
// addresses by being added, and lose them by being removed; nothing is copied and nothing is mapped
// before it is looked at.
//
//   ExtentMemory memory;
//   ASSIGN_OR_RETURN(vmm::UniqueFd ram, NewMemoryFile("metadata", 64 << 20));
//   const PhysicalAddress metadata(0x100000000);
//   RETURN_IF_ERROR(memory.Add(metadata, std::move(ram), 0, 64 << 20, ExtentUse::kMetadata));
//   ASSIGN_OR_RETURN(PhysicalAddress folio,
//                    memory.AddAnywhere(std::move(guest_ram), 0, size, ExtentUse::kData));
//   ...
//   ASSIGN_OR_RETURN(Extent extent, memory.Find(folio));  // which file, and where in it
//
// Addresses and sizes are multiples of the page size. The memory owns the descriptors given to it.
// Not synchronised.
#ifndef LUO_KERNEL_KHO_EXTENT_MEMORY_H_
#define LUO_KERNEL_KHO_EXTENT_MEMORY_H_

#include <stdint.h>

#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/unique_fd.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

enum class ExtentUse {
  // Read() and Write() give its bytes. The file must never shrink: a page past its end cannot be
  // read without a
  // SIGBUS. So it takes sealed files only (F_SEAL_SHRINK), as NewMemoryFile() makes them.
  kMetadata,
  // It has addresses, and no more: Read() and Write() refuse. The file may be anybody's.
  kData,
};

struct Extent {
  PhysicalRange range;
  int fd = -1;  // still the memory's
  uint64_t offset = 0;
  ExtentUse use = ExtentUse::kData;
};

class ExtentMemory : public WritablePhysicalMemory {
 public:
  // AddAnywhere() looks from here on: above what real machines have devices and holes at.
  static constexpr PhysicalAddress kFloor = PhysicalAddress(uint64_t{1} << 32);
  // No address lies above: x86-64 has 52 bits of physical address (AMD64 APM, volume 2, 5.1).
  static constexpr uint64_t kAddressLimit = uint64_t{1} << 52;

  ExtentMemory() = default;
  ~ExtentMemory() override;
  ExtentMemory(const ExtentMemory&) = delete;
  ExtentMemory& operator=(const ExtentMemory&) = delete;

  // Puts [offset, offset + size) of the file at `address`. kInvalidArgument for what is not
  // page-aligned, empty, past the file's last page, or not sealed although `use` needs it;
  // kAlreadyExists where it overlaps another extent; kOutOfRange past kAddressLimit.
  absl::Status Add(PhysicalAddress address, vmm::UniqueFd fd, uint64_t offset, uint64_t size,
                   ExtentUse use);
  // The same at the lowest address above kFloor that is free and as aligned as the largest folio
  // that could lie in it (at most 1 GiB).
  absl::StatusOr<PhysicalAddress> AddAnywhere(vmm::UniqueFd fd, uint64_t offset, uint64_t size,
                                              ExtentUse use);
  // Takes away the extent that starts at `address`, its spans with it, and gives its descriptor
  // back. kNotFound.
  absl::StatusOr<vmm::UniqueFd> Remove(PhysicalAddress address);

  // The extent that `address` lies in; kNotFound.
  absl::StatusOr<Extent> Find(PhysicalAddress address) const;
  // All, by ascending address.
  std::vector<Extent> extents() const;

  absl::StatusOr<absl::Span<const std::byte>> Read(PhysicalAddress address,
                                                   uint64_t size) const override;
  absl::StatusOr<absl::Span<std::byte>> Write(PhysicalAddress address, uint64_t size) override;
  bool Contains(PhysicalAddress address, uint64_t size) const override;
  uint64_t size() const override { return size_; }

 private:
  struct Piece {
    uint64_t size = 0;
    vmm::UniqueFd fd;
    uint64_t offset = 0;
    ExtentUse use = ExtentUse::kData;
    mutable std::byte* mapping = nullptr;
  };
  using Pieces = std::map<uint64_t, Piece>;

  // Looks at `hint` first, and leaves there what it found.
  Pieces::const_iterator FindPiece(uint64_t address, Pieces::const_iterator& hint) const;
  absl::StatusOr<absl::Span<std::byte>> Access(PhysicalAddress address, uint64_t size) const;

  Pieces pieces_;
  uint64_t size_ = 0;
  // Metadata is looked at page by page, in the same piece; and so are the addresses of data.
  mutable Pieces::const_iterator last_accessed_ = pieces_.end();
  mutable Pieces::const_iterator last_found_ = pieces_.end();
};

// A memfd of `size` zero bytes that can neither shrink nor grow. Takes memory as it is written, not
// before.
absl::StatusOr<vmm::UniqueFd> NewMemoryFile(const std::string& name, uint64_t size);

}  // namespace luo

#endif  // LUO_KERNEL_KHO_EXTENT_MEMORY_H_
