#include "luo_kernel/inspect/salvage.h"

#include <string.h>

#include <algorithm>
#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_format.h"
#include "absl/types/span.h"
#include "luo_kernel/abi/block.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/inspect/inspection.h"
#include "luo_kernel/inspect/luo_reader.h"

namespace luo {
namespace {

constexpr uint64_t kPage = abi::kPageSize;
// Of pages that look like lists; more are none.
constexpr size_t kMaxBlocks = 1 << 20;

// The entries of a block of which nothing says that it is none; empty else.
template <typename Entry>
std::vector<Entry> EntriesOf(absl::Span<const uint8_t> page) {
  abi::BlockHeader header;
  memcpy(&header, page.data(), sizeof(header));
  if (header.count == 0 || header.count > abi::EntriesPerBlock(sizeof(Entry)) ||
      header.next % kPage != 0) {
    return {};
  }
  std::vector<Entry> entries(header.count);
  const uint64_t size = header.count * sizeof(Entry);
  memcpy(entries.data(), page.data() + sizeof(header), size);
  // The kernel clears a block before it fills it.
  const auto rest = page.subspan(sizeof(header) + size);
  const bool ends = std::all_of(rest.begin(), rest.end(), [](uint8_t byte) { return byte == 0; });
  return ends ? entries : std::vector<Entry>();
}

// A string of at least one byte that ends in the field, and nothing after it.
bool IsFilledUp(absl::Span<const char> field) {
  const size_t size = strnlen(field.data(), field.size());
  return size > 0 && size < field.size() &&
         std::all_of(field.begin() + size, field.end(), [](char c) { return c == 0; });
}

bool IsFile(const abi::LuoFileSer& file) {
  const size_t size = strnlen(file.compatible, sizeof(file.compatible));
  return IsFilledUp(file.compatible) && std::all_of(file.compatible, file.compatible + size,
                                                    [](char c) { return c > 0x20 && c < 0x7f; });
}

bool IsSession(const abi::LuoSessionSer& session) {
  const auto& [files, count] = session.file_set;
  return IsFilledUp(session.name) && files % kPage == 0 && (files == 0) == (count == 0) &&
         count <= abi::kMaxBlocks * abi::EntriesPerBlock(sizeof(abi::LuoFileSer));
}

struct Blocks {
  std::map<uint64_t, uint64_t> files;  // {address: next}
  std::map<uint64_t, std::vector<abi::LuoSessionSer>> sessions;
};

void LookAtPage(uint64_t address, absl::Span<const uint8_t> page, Blocks& blocks) {
  if (blocks.files.size() + blocks.sessions.size() >= kMaxBlocks) return;
  const std::vector<abi::LuoFileSer> files = EntriesOf<abi::LuoFileSer>(page);
  const bool has_memfd = std::any_of(files.begin(), files.end(), [](const abi::LuoFileSer& file) {
    return memcmp(file.compatible, abi::kMemfdCompatible, sizeof(abi::kMemfdCompatible)) == 0;
  });
  if (has_memfd && std::all_of(files.begin(), files.end(), IsFile)) {
    memcpy(&blocks.files[address], page.data() + offsetof(abi::BlockHeader, next),
           sizeof(uint64_t));
    return;
  }
  std::vector<abi::LuoSessionSer> sessions = EntriesOf<abi::LuoSessionSer>(page);
  if (!sessions.empty() && std::all_of(sessions.begin(), sessions.end(), IsSession)) {
    blocks.sessions.emplace(address, std::move(sessions));
  }
}

Blocks LookForBlocks(const PhysicalReader& memory) {
  Blocks blocks;
  memory.ForEachPage([&blocks](uint64_t address, absl::Span<const uint8_t> page) {
    LookAtPage(address, page, blocks);
  });
  return blocks;
}

}  // namespace

std::optional<HandoverReport> Salvage(const PhysicalReader& memory) {
  const Blocks blocks = LookForBlocks(memory);
  HandoverReport report{.origin = "salvaged", .compatible = abi::kKhoCompatible};
  LuoReport luo{.compatible = abi::kLuoCompatible};
  Inspection inspection(memory, nullptr, report.problems);
  std::set<uint64_t> named;
  for (const auto& [address, sessions] : blocks.sessions) {
    const bool known = std::any_of(sessions.begin(), sessions.end(), [&](const auto& session) {
      return blocks.files.contains(session.file_set.files);
    });
    if (!known || !inspection.Claim(address, kPage, "a list of sessions")) continue;
    if (luo.sessions_address == 0) luo.sessions_address = address;
    for (const abi::LuoSessionSer& session : sessions) {
      named.insert(session.file_set.files);
      luo.sessions.push_back(InspectSession(inspection, session));
    }
  }
  // What is left are the files of sessions whose names are lost: a list begins where no other block
  // goes on.
  std::set<uint64_t> followed;
  for (const auto& [address, next] : blocks.files) followed.insert(next);
  for (const auto& [address, next] : blocks.files) {
    if (followed.contains(address) || named.contains(address)) continue;
    SessionReport found{.name = absl::StrFormat("? files at %#x", address)};
    found.file_count = inspection.ForEachEntry(
        address, sizeof(abi::LuoFileSer), found.name, [&](absl::Span<const uint8_t> entry) {
          abi::LuoFileSer file;
          memcpy(&file, entry.data(), sizeof(file));
          found.files.push_back(InspectFile(inspection, found.name, file));
        });
    luo.sessions.push_back(std::move(found));
  }
  if (luo.sessions.empty()) return std::nullopt;
  report.luo = std::move(luo);
  report.claimed_bytes = inspection.CheckClaims();
  return report;
}

}  // namespace luo
