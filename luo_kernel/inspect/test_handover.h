// A small machine's memory with a sound handover in it, for tests to look at and to break.
//
//   TestHandover handover;
//   handover.Poke<uint64_t>(handover.Read().luo->sessions_address, 0);   // then look again
//   std::vector<uint8_t> file = handover.AsElfCore();
//
// Session "a" has a file of three pages and one byte in a folio of two pages and two of one, token
// 1, and an empty one, token 2; session "b" has a page, token 1, in a file of another kind, too;
// session "none" has no file. There is one FLB, "flb-v1". What cannot be made ends the program.
#ifndef LUO_KERNEL_INSPECT_TEST_HANDOVER_H_
#define LUO_KERNEL_INSPECT_TEST_HANDOVER_H_

#include <stdint.h>
#include <string.h>

#include <cstddef>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "luo_kernel/inspect/physical_reader.h"
#include "luo_kernel/inspect/report.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

// Bytes at an address.
class TestMemory final : public WritablePhysicalMemory, public PhysicalReader {
 public:
  TestMemory(uint64_t address, uint64_t size)
      : ranges_{{.address = address, .size = size}}, bytes_(size) {}

  absl::StatusOr<absl::Span<const std::byte>> Read(PhysicalAddress address,
                                                   uint64_t size) const override;
  absl::StatusOr<absl::Span<std::byte>> Write(PhysicalAddress address, uint64_t size) override;
  bool Contains(PhysicalAddress address, uint64_t size) const override;
  uint64_t size() const override { return bytes_.size(); }

  const std::vector<MemoryRange>& ranges() const override { return ranges_; }
  absl::Status Read(uint64_t address, absl::Span<uint8_t> out) const override;

  const std::vector<std::byte>& bytes() const { return bytes_; }

 private:
  std::vector<MemoryRange> ranges_;
  std::vector<std::byte> bytes_;
};

class TestHandover {
 public:
  static constexpr uint64_t kMemory = 16 << 20;
  static constexpr uint64_t kMemorySize = 512 << 10;

  TestHandover();

  TestMemory& memory() { return memory_; }
  uint64_t tree() const { return tree_; }
  // What is read of it as it is now.
  HandoverReport Read() const;

  template <typename T>
  T Peek(uint64_t address) const {
    return static_cast<const PhysicalReader&>(memory_).Load<T>(address).value();
  }
  template <typename T>
  void Poke(uint64_t address, const T& value) {
    memcpy(memory_.Write(PhysicalAddress(address), sizeof(T)).value().data(), &value, sizeof(T));
  }

  // The memory as a file (memory_image.h), with a VMCOREINFO that says OSRELEASE=7.3.test.
  std::vector<uint8_t> AsElfCore() const;

 private:
  TestMemory memory_{kMemory, kMemorySize};
  uint64_t tree_ = 0;
};

// The contents of session "a", token 1.
std::string TestContents();

}  // namespace luo

#endif  // LUO_KERNEL_INSPECT_TEST_HANDOVER_H_
