#include "luo_kernel/luo/image.h"

#include <errno.h>
#include <string.h>

#include <algorithm>
#include <cstddef>
#include <utility>

#include "absl/container/flat_hash_set.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/string_view.h"
#include "absl/types/span.h"
#include "base/status.h"
#include "base/tree.h"
#include "luo_kernel/abi/kho_v4.h"
#include "luo_kernel/abi/luo_v1.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/kho/block_list.h"

namespace luo {
namespace {

// Of a flattened device tree, big-endian (Devicetree Specification v0.4, 5.2).
constexpr uint8_t kTreeMagic[] = {0xd0, 0x0d, 0xfe, 0xed};

template <size_t N>
std::string StringIn(const char (&field)[N]) {
  return std::string(field, strnlen(field, N));
}

// False where `text` and its NUL do not fit.
template <size_t N>
bool StringTo(absl::string_view text, char (&field)[N]) {
  if (text.size() >= N || text.find('\0') != absl::string_view::npos) return false;
  memset(field, 0, N);
  memcpy(field, text.data(), text.size());
  return true;
}

absl::Status OtherVersion(absl::string_view version) {
  return absl::FailedPreconditionError(
      absl::StrCat("LUO hands over by another ABI: '", version, "'"));
}

// The pages that were read, each of which may be part of one thing only: so nothing can be reached
// by two ways, and the work has the memory as its bound.
class Claims {
 public:
  absl::Status Claim(PhysicalAddress start, uint64_t size) {
    for (uint64_t frame = start.frame(); frame <= (start.value() + (size - 1)) >> abi::kPageShift;
         ++frame) {
      if (!frames_.insert(frame).second) {
        return absl::DataLossError(
            absl::StrCat("two structures of LUO share the page of ", ToString(start)));
      }
    }
    pages_.push_back({start, size});
    return absl::OkStatus();
  }
  absl::Status Claim(const BlockList& list) {
    for (const PhysicalAddress block : list.blocks()) {
      RETURN_IF_ERROR(Claim(block, abi::kBlockSize));
    }
    return absl::OkStatus();
  }
  std::vector<PhysicalRange> TakePages() { return std::move(pages_); }

 private:
  absl::flat_hash_set<uint64_t> frames_;
  std::vector<PhysicalRange> pages_;
};

FileImage ImageOf(const abi::LuoFileSer& file) {
  return {StringIn(file.compatible), file.data, file.token};
}

// `count` structures in a row.
template <typename T>
absl::StatusOr<std::vector<T>> ReadArray(const PhysicalMemory& memory, PhysicalAddress start,
                                         uint64_t count) {
  std::vector<T> array;
  for (uint64_t i = 0; i < count; ++i) {
    const std::optional<PhysicalAddress> at = start.CheckedAdd(i * sizeof(T));
    if (!at.has_value()) return absl::OutOfRangeError("an array of LUO wraps");
    ASSIGN_OR_RETURN(T value, ReadStruct<T>(memory, *at));
    array.push_back(value);
  }
  return array;
}

template <typename Header>
absl::StatusOr<PhysicalAddress> After(PhysicalAddress header) {
  const std::optional<PhysicalAddress> after = header.CheckedAdd(sizeof(Header));
  if (!after.has_value()) return absl::OutOfRangeError("a header of LUO wraps");
  return *after;
}

absl::StatusOr<vmm::Tree> ReadTree(const PhysicalMemory& memory, PhysicalAddress address,
                                   uint64_t size) {
  if (size < 8) return absl::DataLossError("LUO's device tree is cut off");
  // Where the size is not said, the tree has a page.
  const uint64_t bytes = std::min<uint64_t>(size, abi::kLuoV1TreeBytes);
  ASSIGN_OR_RETURN(absl::Span<const std::byte> page, memory.Read(address, bytes));
  const std::vector<uint8_t> copy(reinterpret_cast<const uint8_t*>(page.data()),
                                  reinterpret_cast<const uint8_t*>(page.data()) + page.size());
  const uint64_t total = uint64_t{copy[4]} << 24 | copy[5] << 16 | copy[6] << 8 | copy[7];
  if (total > copy.size()) return absl::DataLossError("LUO's device tree is cut off");
  absl::StatusOr<vmm::Tree> tree = vmm::DecodeTree(absl::MakeConstSpan(copy).first(total));
  if (!tree.ok()) return absl::DataLossError(tree.status().message());
  return tree;
}

// A u64 that Linux stored as it lay in memory.
absl::StatusOr<uint64_t> NativeU64(const vmm::Tree& node, absl::string_view name) {
  absl::StatusOr<uint64_t> value = node.GetStruct<uint64_t>(name);
  if (!value.ok()) return absl::DataLossError(value.status().message());
  return value;
}

absl::Status CheckNode(const vmm::Tree& node, absl::string_view compatible) {
  const absl::StatusOr<std::string> found = node.GetString("compatible");
  if (!found.ok()) return absl::DataLossError(found.status().message());
  return *found == compatible ? absl::OkStatus() : OtherVersion(*found);
}

absl::Status ReadV1Sessions(const PhysicalMemory& memory, const vmm::Tree& node, Claims& claims,
                            LuoImage* image) {
  const bool names_only = CheckNode(node, abi::kLuoV1SessionCompatible1).ok();
  if (!names_only) RETURN_IF_ERROR(CheckNode(node, abi::kLuoV1SessionCompatible2));
  ASSIGN_OR_RETURN(const uint64_t header_address, NativeU64(node, abi::kLuoV1SessionHeader));
  const PhysicalAddress header_at(header_address);
  ASSIGN_OR_RETURN(const auto header, ReadStruct<abi::LuoV1SessionHeaderSer>(memory, header_at));
  if (header.count > abi::kLuoV1MaxSessions) {
    return absl::DataLossError(absl::StrCat(header.count, " sessions in luo-v1"));
  }
  ASSIGN_OR_RETURN(const PhysicalAddress first, After<abi::LuoV1SessionHeaderSer>(header_at));
  const uint64_t entry_size =
      names_only ? sizeof(abi::LuoV1SessionNameSer) : sizeof(abi::LuoSessionSer);
  RETURN_IF_ERROR(claims.Claim(header_at, sizeof(header) + header.count * entry_size));
  if (names_only) {
    ASSIGN_OR_RETURN(const auto sessions,
                     ReadArray<abi::LuoV1SessionNameSer>(memory, first, header.count));
    for (const abi::LuoV1SessionNameSer& session : sessions) {
      image->sessions.push_back({StringIn(session.name), {}});
    }
    return absl::OkStatus();
  }
  ASSIGN_OR_RETURN(const auto sessions, ReadArray<abi::LuoSessionSer>(memory, first, header.count));
  for (const abi::LuoSessionSer& session : sessions) {
    SessionImage& read = image->sessions.emplace_back();
    read.name = StringIn(session.name);
    const uint64_t count = session.file_set.count;
    if (count == 0) continue;
    if (count > abi::kLuoV1MaxFiles) {
      return absl::DataLossError(absl::StrCat(count, " files in a session of luo-v1"));
    }
    const PhysicalAddress files_at(session.file_set.files);
    RETURN_IF_ERROR(claims.Claim(files_at, count * sizeof(abi::LuoFileSer)));
    ASSIGN_OR_RETURN(const auto files, ReadArray<abi::LuoFileSer>(memory, files_at, count));
    for (const abi::LuoFileSer& file : files) read.files.push_back(ImageOf(file));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<FlbImage>> ReadFlbs(const PhysicalMemory& memory,
                                               PhysicalAddress address) {
  std::vector<FlbImage> flbs;
  if (address == PhysicalAddress(0)) return flbs;
  ASSIGN_OR_RETURN(const auto header, ReadStruct<abi::LuoFlbHeaderSer>(memory, address));
  if (header.count > abi::kMaxFlbs) {
    return absl::DataLossError(absl::StrCat(header.count, " FLBs"));
  }
  ASSIGN_OR_RETURN(const PhysicalAddress first, After<abi::LuoFlbHeaderSer>(address));
  ASSIGN_OR_RETURN(const auto array, ReadArray<abi::LuoFlbSer>(memory, first, header.count));
  for (const abi::LuoFlbSer& flb : array) {
    flbs.push_back({StringIn(flb.name), flb.data, flb.count});
  }
  return flbs;
}

absl::StatusOr<LuoImage> ReadLuoV5(const PhysicalMemory& memory, PhysicalAddress address,
                                   uint64_t size) {
  if (size < sizeof(abi::LuoSer)) {
    return absl::DataLossError(absl::StrCat("LUO's root has ", size, " bytes"));
  }
  ASSIGN_OR_RETURN(const auto root, ReadStruct<abi::LuoSer>(memory, address));
  LuoImage image;
  image.version = StringIn(root.compatible);
  if (image.version != abi::kLuoCompatible) return OtherVersion(image.version);
  image.number = root.liveupdate_num;
  Claims claims;
  RETURN_IF_ERROR(claims.Claim(address, sizeof(root)));
  ASSIGN_OR_RETURN(
      const BlockList sessions,
      ReadBlockList(memory, PhysicalAddress(root.sessions_pa), sizeof(abi::LuoSessionSer)));
  RETURN_IF_ERROR(claims.Claim(sessions));
  for (size_t i = 0; i < sessions.size(); ++i) {
    const auto session = sessions.Get<abi::LuoSessionSer>(i);
    SessionImage& read = image.sessions.emplace_back();
    read.name = StringIn(session.name);
    // Linux, too, believes the address rather than the count.
    if (session.file_set.files == 0) continue;
    ASSIGN_OR_RETURN(
        const BlockList files,
        ReadBlockList(memory, PhysicalAddress(session.file_set.files), sizeof(abi::LuoFileSer)));
    RETURN_IF_ERROR(claims.Claim(files));
    if (files.size() != session.file_set.count) {
      return absl::DataLossError(absl::StrCat("session '", read.name, "' has ", files.size(),
                                              " files and says ", session.file_set.count));
    }
    for (size_t j = 0; j < files.size(); ++j) {
      read.files.push_back(ImageOf(files.Get<abi::LuoFileSer>(j)));
    }
  }
  if (root.flbs_pa != 0) {
    const PhysicalAddress flbs(root.flbs_pa);
    RETURN_IF_ERROR(claims.Claim(flbs, abi::kLuoFlbPages * abi::kPageSize));
    ASSIGN_OR_RETURN(image.flbs, ReadFlbs(memory, flbs));
  }
  image.pages = claims.TakePages();
  return image;
}

absl::StatusOr<LuoImage> ReadLuoV1(const PhysicalMemory& memory, PhysicalAddress address,
                                   uint64_t size) {
  ASSIGN_OR_RETURN(const vmm::Tree root, ReadTree(memory, address, size));
  RETURN_IF_ERROR(CheckNode(root, abi::kLuoV1Compatible));
  LuoImage image;
  image.version = abi::kLuoV1Compatible;
  ASSIGN_OR_RETURN(image.number, NativeU64(root, abi::kLuoV1Number));
  Claims claims;
  RETURN_IF_ERROR(claims.Claim(address, std::min<uint64_t>(size, abi::kLuoV1TreeBytes)));
  const absl::StatusOr<const vmm::Tree*> sessions = root.Child(abi::kLuoV1SessionNode);
  if (!sessions.ok()) return absl::DataLossError(sessions.status().message());
  RETURN_IF_ERROR(ReadV1Sessions(memory, **sessions, claims, &image));
  // FLBs came later than "luo-v1" did, and did not change its name.
  const absl::StatusOr<const vmm::Tree*> flbs = root.Child(abi::kLuoV1FlbNode);
  if (flbs.ok()) {
    RETURN_IF_ERROR(CheckNode(**flbs, abi::kLuoV1FlbCompatible));
    ASSIGN_OR_RETURN(const uint64_t header, NativeU64(**flbs, abi::kLuoV1FlbHeader));
    if (header == 0) return absl::DataLossError("luo-v1 has FLBs nowhere");
    RETURN_IF_ERROR(claims.Claim(PhysicalAddress(header), abi::kLuoFlbPages * abi::kPageSize));
    ASSIGN_OR_RETURN(image.flbs, ReadFlbs(memory, PhysicalAddress(header)));
  }
  image.pages = claims.TakePages();
  return image;
}

absl::StatusOr<LuoImage> ReadLuo(const PhysicalMemory& memory, PhysicalAddress address,
                                 uint64_t size) {
  if (size < sizeof(kTreeMagic)) return absl::DataLossError("LUO's root is cut off");
  ASSIGN_OR_RETURN(const absl::Span<const std::byte> magic,
                   memory.Read(address, sizeof(kTreeMagic)));
  if (memcmp(magic.data(), kTreeMagic, sizeof(kTreeMagic)) == 0) {
    return ReadLuoV1(memory, address, size);
  }
  return ReadLuoV5(memory, address, size);
}

absl::Status WriteLuoV5(OutgoingHandover& outgoing, const LuoImage& image) {
  WritablePhysicalMemory& memory = outgoing.memory();
  abi::LuoSer root = {};
  (void)StringTo(abi::kLuoCompatible, root.compatible);
  root.liveupdate_num = image.number;

  BlockListWriter sessions(&outgoing, sizeof(abi::LuoSessionSer));
  RETURN_IF_ERROR(sessions.Grow(image.sessions.size()));
  for (const SessionImage& session : image.sessions) {
    abi::LuoSessionSer ser = {};
    if (!StringTo(session.name, ser.name)) {
      return absl::InvalidArgumentError(absl::StrCat("a session's name: '", session.name, "'"));
    }
    BlockListWriter files(&outgoing, sizeof(abi::LuoFileSer));
    RETURN_IF_ERROR(files.Grow(session.files.size()));
    for (const FileImage& file : session.files) {
      abi::LuoFileSer file_ser = {};
      if (!StringTo(file.compatible, file_ser.compatible)) {
        return absl::InvalidArgumentError(absl::StrCat("a handler: '", file.compatible, "'"));
      }
      file_ser.data = file.data;
      file_ser.token = file.token;
      RETURN_IF_ERROR(files.Append(file_ser));
    }
    ser.file_set.files = files.head().value();
    ser.file_set.count = session.files.size();
    RETURN_IF_ERROR(sessions.Append(ser));
  }
  root.sessions_pa = sessions.head().value();

  if (image.flbs.size() > abi::kMaxFlbs) {
    return absl::InvalidArgumentError(absl::StrCat(image.flbs.size(), " FLBs"));
  }
  ASSIGN_OR_RETURN(PhysicalAddress at,
                   outgoing.AllocatePreserved(abi::kLuoFlbPages * abi::kPageSize));
  root.flbs_pa = at.value();
  RETURN_IF_ERROR(
      WriteStruct(memory, at, abi::LuoFlbHeaderSer{abi::kLuoFlbPages, image.flbs.size()}));
  at = PhysicalAddress(at.value() + sizeof(abi::LuoFlbHeaderSer));
  for (const FlbImage& flb : image.flbs) {
    abi::LuoFlbSer ser = {};
    if (!StringTo(flb.name, ser.name)) {
      return absl::InvalidArgumentError(absl::StrCat("an FLB: '", flb.name, "'"));
    }
    ser.data = flb.data;
    ser.count = flb.count;
    RETURN_IF_ERROR(WriteStruct(memory, at, ser));
    at = PhysicalAddress(at.value() + sizeof(ser));
  }

  ASSIGN_OR_RETURN(const PhysicalAddress root_at, outgoing.AllocatePreserved(sizeof(root)));
  RETURN_IF_ERROR(WriteStruct(memory, root_at, root));
  return outgoing.AddSubtree(abi::kLuoSubtree, root_at, sizeof(root));
}

}  // namespace luo
