#include "luo_kernel/inspect/inspection.h"

#include <string.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "luo_kernel/abi/block.h"
#include "luo_kernel/abi/kho_v4.h"

namespace luo {
namespace {

constexpr uint64_t kPage = abi::kPageSize;

}  // namespace

bool Inspection::Claim(uint64_t address, uint64_t size, absl::string_view what) {
  if (address % kPage != 0) {
    problems_.Add(absl::StrFormat("%s: %#x is not the address of a page", what, address));
    return false;
  }
  const uint64_t pages = size / kPage + (size % kPage != 0 ? 1 : 0);
  if (pages > UINT64_MAX / kPage || !memory_.Has(address, pages * kPage)) {
    problems_.Add(absl::StrFormat("%s: no memory at %#x, %d bytes", what, address, size));
    return false;
  }
  if (pages > 0) {
    const uint64_t end = address + pages * kPage;
    // The first that ends behind `address`: the one before may reach into it.
    auto taken = metadata_.upper_bound(address);
    if (taken != metadata_.begin() && std::prev(taken)->second > address) --taken;
    if (taken != metadata_.end() && taken->first < end) {
      problems_.Add(absl::StrFormat("%s: the page at %#x is something else's, or its own before",
                                    what, std::max(address, taken->first)));
      return false;
    }
    metadata_.emplace(address, end);
  }
  if (preserved_ != nullptr && !preserved_->Covers(address, pages * kPage)) {
    problems_.Add(absl::StrFormat("%s: %#x is not preserved", what, address));
  }
  owners_.push_back(std::string(what));
  ClaimContents(address, pages * kPage);
  return true;
}

bool Inspection::IsMetadata(uint64_t address) const {
  const auto next = metadata_.upper_bound(address);
  return next != metadata_.begin() && address < std::prev(next)->second;
}

void Inspection::ClaimContents(uint64_t address, uint64_t size) {
  const uint64_t owner = owners_.empty() ? 0 : owners_.size() - 1;
  if (!claims_.empty()) {
    Claimed& last = claims_.back();
    if (last.owner == owner && last.address + last.size == address) {
      last.size += size;
      return;
    }
  }
  claims_.push_back({.address = address, .size = size, .owner = owner});
}

uint64_t Inspection::ForEachEntry(uint64_t head, uint64_t entry_size, absl::string_view what,
                                  const std::function<void(absl::Span<const uint8_t>)>& take) {
  const uint64_t room = abi::EntriesPerBlock(entry_size);
  uint64_t entries = 0;
  uint64_t blocks = 0;
  for (uint64_t next = head; next != 0;) {
    if (++blocks > abi::kMaxBlocks) {
      problems_.Add(absl::StrCat(what, ": more than ", abi::kMaxBlocks, " blocks"));
      break;
    }
    if (!Claim(next, abi::kBlockSize, what)) break;
    const auto block = memory_.Load<std::array<uint8_t, abi::kBlockSize>>(next);
    if (!block.ok()) {
      problems_.Add(absl::StrFormat("%s: the block at %#x cannot be read", what, next));
      break;
    }
    abi::BlockHeader header;
    memcpy(&header, block->data(), sizeof(header));
    if (header.count == 0 || header.count > room) {
      problems_.Add(absl::StrFormat("%s: the block at %#x says it has %d entries, of 1 to %d", what,
                                    next, header.count, room));
    }
    const uint64_t count = std::min<uint64_t>(header.count, room);
    for (uint64_t i = 0; i < count; ++i) {
      take(absl::MakeConstSpan(*block).subspan(sizeof(header) + i * entry_size, entry_size));
    }
    entries += count;
    next = header.next;
  }
  return entries;
}

uint64_t Inspection::ForEachInArray(uint64_t address, uint64_t skip, uint64_t count, uint64_t most,
                                    uint64_t entry_size, absl::string_view what,
                                    const std::function<void(absl::Span<const uint8_t>)>& take) {
  if (count > most) {
    problems_.Add(absl::StrCat(what, ": ", count, " of at most ", most));
    return 0;
  }
  const uint64_t size = skip + count * entry_size;
  if (!Claim(address, size, what)) return 0;
  std::vector<uint8_t> bytes(size);
  if (!memory_.Read(address, absl::MakeSpan(bytes)).ok()) {
    problems_.Add(absl::StrFormat("%s: %#x cannot be read", what, address));
    return 0;
  }
  for (uint64_t i = 0; i < count; ++i) {
    take(absl::MakeConstSpan(bytes).subspan(skip + i * entry_size, entry_size));
  }
  return count;
}

uint64_t Inspection::CheckClaims() {
  std::sort(claims_.begin(), claims_.end(),
            [](const Claimed& a, const Claimed& b) { return a.address < b.address; });
  uint64_t bytes = 0;
  uint64_t end = 0;
  const Claimed* reaches_furthest = nullptr;
  for (const Claimed& claim : claims_) {
    if (claim.address < end && reaches_furthest != nullptr) {
      problems_.Add(absl::StrFormat("%#x belongs to both %s and %s", claim.address,
                                    owners_[reaches_furthest->owner], owners_[claim.owner]));
    }
    const uint64_t claim_end = claim.address + claim.size;
    if (claim_end <= end) continue;
    bytes += claim_end - std::max(end, claim.address);
    end = claim_end;
    reaches_furthest = &claim;
  }
  return bytes;
}

std::string StringField(absl::Span<const char> field, absl::string_view what, Problems& problems) {
  const size_t size = strnlen(field.data(), field.size());
  std::string text(field.data(), size);
  if (size == field.size()) {
    problems.Add(absl::StrCat(what, ": \"", absl::CHexEscape(text), "\" has no end"));
  }
  return text;
}

}  // namespace luo
