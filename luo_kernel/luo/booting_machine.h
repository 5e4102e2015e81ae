// BootingMachine: a machine for tests that boots, live-updates itself, and loses at each kexec
// every page that was not preserved.
//
//   BootingMachine machine;
//   machine.on_boot = [&](BootingMachine& m) { ASSERT_OK(m.luo().RegisterFileHandler(...)); };
//   machine.PowerOn();
//   ...machine.luo().CreateSession("s")...
//   ASSERT_EQ(machine.Kexec(), absl::OkStatus());
#ifndef LUO_KERNEL_LUO_BOOTING_MACHINE_H_
#define LUO_KERNEL_LUO_BOOTING_MACHINE_H_

#include <stdint.h>
#include <string.h>

#include <functional>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "base/status.h"
#include "gtest/gtest.h"
#include "luo_kernel/kho/arena.h"
#include "luo_kernel/kho/extent_memory.h"
#include "luo_kernel/kho/incoming_handover.h"
#include "luo_kernel/kho/outgoing_handover.h"
#include "luo_kernel/luo/live_update.h"

namespace luo {

class BootingMachine {
 public:
  static constexpr uint64_t kArenaBytes = uint64_t{8} << 20;
  static constexpr PhysicalRange kArena = {ExtentMemory::kFloor, kArenaBytes};
  static constexpr PhysicalRange kScratch = {ExtentMemory::kFloor, uint64_t{1} << 20};

  // Registers handlers.
  std::function<void(BootingMachine&)> on_boot = [](BootingMachine&) {};

  void PowerOn(uint64_t arena_bytes = kArenaBytes) {
    absl::StatusOr<vmm::UniqueFd> file = NewMemoryFile("metadata", arena_bytes);
    ASSERT_TRUE(file.ok()) << file.status();
    arena_range_ = {kArena.start, arena_bytes};
    ASSERT_EQ(memory_.Add(kArena.start, *std::move(file), 0, arena_bytes, ExtentUse::kMetadata),
              absl::OkStatus());
    ASSERT_EQ(Boot(std::nullopt), absl::OkStatus());
  }

  // Reboots into the next kernel. When LUO refuses, says why, and all goes on as before. Sessions
  // that are still held live on as those of a kernel that is no more.
  absl::Status Kexec() {
    RETURN_IF_ERROR(luo_->Reboot());
    return Boot(outgoing_->data());
  }

  // Boots over the memory as it is.
  absl::Status Boot(const std::optional<abi::KhoData>& data) {
    // What the old kernel had stays allocated: sessions may still point to it.
    if (luo_ != nullptr) {
      graveyard_.push_back({std::move(arena_), std::move(outgoing_), std::move(incoming_), luo_});
    }
    absl::StatusOr<Arena> arena = Arena::Create(&memory_, arena_range_);
    RETURN_IF_ERROR(arena.status());
    arena_ = std::make_unique<Arena>(*std::move(arena));
    incoming_.reset();
    if (data.has_value()) {
      absl::StatusOr<IncomingHandover> incoming = IncomingHandover::Open(memory_, *data);
      RETURN_IF_ERROR(incoming.status());
      incoming_ = std::make_unique<IncomingHandover>(*std::move(incoming));
      RETURN_IF_ERROR(incoming_->Reserve(*arena_));
      LoseTheRest();
    }
    absl::StatusOr<OutgoingHandover> outgoing =
        OutgoingHandover::Create(&memory_, arena_.get(), {kScratch});
    RETURN_IF_ERROR(outgoing.status());
    outgoing_ = std::make_unique<OutgoingHandover>(*std::move(outgoing));
    absl::StatusOr<std::shared_ptr<LiveUpdate>> luo =
        LiveUpdate::Boot(outgoing_.get(), incoming_.get());
    RETURN_IF_ERROR(luo.status());
    luo_ = *std::move(luo);
    on_boot(*this);
    return absl::OkStatus();
  }

  ExtentMemory& memory() { return memory_; }
  Arena& arena() { return *arena_; }
  OutgoingHandover& outgoing() { return *outgoing_; }
  IncomingHandover* incoming() { return incoming_.get(); }
  LiveUpdate& luo() { return *luo_; }
  std::shared_ptr<LiveUpdate> shared_luo() { return luo_; }

  // What a leak would change.
  struct Usage {
    uint64_t taken_pages;  // of the arena, less the map's own, whose nodes stay
    uint64_t preserved_pages;
    uint64_t unrestored_blocks;
    size_t extents;
    friend bool operator==(const Usage&, const Usage&) = default;
    friend std::ostream& operator<<(std::ostream& out, const Usage& usage) {
      return out << usage.taken_pages << " pages taken, " << usage.preserved_pages << " preserved, "
                 << usage.unrestored_blocks << " unrestored, " << usage.extents << " extents";
    }
  };
  Usage usage() const {
    return {arena_range_.size / abi::kPageSize - arena_->free_pages() - outgoing_->map_pages(),
            outgoing_->preserved_pages(),
            incoming_ == nullptr ? 0 : incoming_->preserved().blocks(), memory_.extents().size()};
  }

 private:
  struct OldKernel {
    std::unique_ptr<Arena> arena;
    std::unique_ptr<OutgoingHandover> outgoing;
    std::unique_ptr<IncomingHandover> incoming;
    std::shared_ptr<LiveUpdate> luo;
  };

  void LoseTheRest() {
    for (uint64_t at = 0; at < arena_range_.size; at += abi::kPageSize) {
      const PhysicalAddress page(arena_range_.start.value() + at);
      if (!arena_->IsFree(page)) continue;
      const auto bytes = memory_.Write(page, abi::kPageSize);
      if (bytes.ok()) memset(bytes->data(), 0xa5, bytes->size());
    }
    for (const Extent& extent : memory_.extents()) {
      if (extent.use == ExtentUse::kData && !incoming_->preserved().FindIn(extent.range)) {
        (void)memory_.Remove(extent.range.start);
      }
    }
  }

  ExtentMemory memory_;
  PhysicalRange arena_range_;
  std::vector<OldKernel> graveyard_;
  std::unique_ptr<Arena> arena_;
  std::unique_ptr<OutgoingHandover> outgoing_;
  std::unique_ptr<IncomingHandover> incoming_;
  std::shared_ptr<LiveUpdate> luo_;
};

}  // namespace luo

#endif  // LUO_KERNEL_LUO_BOOTING_MACHINE_H_
