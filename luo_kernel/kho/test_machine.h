// TestMachine: a small machine for tests. Some MiB of metadata, the first of them scratch, and as
// much data as is added.
//
//   TestMachine machine;
//   OutgoingHandover handover = machine.NewHandover();
//   const PhysicalAddress folio = machine.AddData(2 << 20);
//   ... and after the "kexec": IncomingHandover::Open(machine.memory(), handover.data())
//
// What cannot be made ends the program.
#ifndef LUO_KERNEL_KHO_TEST_MACHINE_H_
#define LUO_KERNEL_KHO_TEST_MACHINE_H_

#include <stdint.h>

#include <memory>
#include <utility>

#include "luo_kernel/kho/arena.h"
#include "luo_kernel/kho/extent_memory.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/kho/physical_memory.h"

namespace luo {

class TestMachine {
 public:
  static constexpr PhysicalAddress kMetadata{uint64_t{1} << 32};
  static constexpr uint64_t kScratchSize = 1 << 20;

  explicit TestMachine(uint64_t metadata_size = 16 << 20)
      : memory_(std::make_unique<ExtentMemory>()), metadata_{kMetadata, metadata_size} {
    CheckOk(memory_->Add(kMetadata, NewMemoryFile("metadata", metadata_size).value(), 0,
                         metadata_size, ExtentUse::kMetadata));
    arena_ = std::make_unique<Arena>(NewArena());
  }

  ExtentMemory& memory() { return *memory_; }
  // The arena of the kernel that goes.
  Arena& arena() { return *arena_; }
  PhysicalRange metadata() const { return metadata_; }
  PhysicalRange scratch() const { return {kMetadata, kScratchSize}; }

  // A handover; one at a time, as each takes the scratch memory from the arena.
  OutgoingHandover NewHandover() {
    return OutgoingHandover::Create(memory_.get(), arena_.get(), {scratch()}).value();
  }
  // An arena over all metadata with nothing taken, as a kernel that boots has it.
  Arena NewArena() { return Arena::Create(memory_.get(), metadata_).value(); }
  // Memory without readable contents.
  PhysicalAddress AddData(uint64_t size) {
    return memory_->AddAnywhere(NewMemoryFile("data", size).value(), 0, size, ExtentUse::kData)
        .value();
  }
  PhysicalAddress Page() { return arena_->Allocate(0).value(); }

 private:
  static void CheckOk(const absl::Status& status) {
    absl::StatusOr<int>(status.ok() ? absl::StatusOr<int>(0) : status).value();
  }

  std::unique_ptr<ExtentMemory> memory_;
  PhysicalRange metadata_;
  std::unique_ptr<Arena> arena_;
};

}  // namespace luo

#endif  // LUO_KERNEL_KHO_TEST_MACHINE_H_
