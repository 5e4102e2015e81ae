#include "luo_kernel/inspect/luo_reader.h"

#include <string.h>

#include <algorithm>
#include <array>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "base/tree.h"
#include "luo_kernel/abi/luo_v1.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/inspect/device_tree.h"
#include "luo_kernel/inspect/memfd_reader.h"

namespace luo {
namespace {

template <typename T>
T CopyOf(absl::Span<const uint8_t> entry) {
  T value;
  memcpy(&value, entry.data(), sizeof(T));
  return value;
}

void CheckNames(Inspection& inspection, const LuoReport& luo) {
  std::set<std::string> names;
  for (const SessionReport& session : luo.sessions) {
    if (names.insert(session.name).second) continue;
    inspection.problems().Add(
        absl::StrCat("there are two sessions \"", absl::CHexEscape(session.name), "\""));
  }
}

void ReadSessions(Inspection& inspection, LuoReport& luo) {
  inspection.ForEachEntry(
      luo.sessions_address, sizeof(abi::LuoSessionSer), "LUO, sessions",
      [&](absl::Span<const uint8_t> entry) {
        luo.sessions.push_back(InspectSession(inspection, CopyOf<abi::LuoSessionSer>(entry)));
      });
  CheckNames(inspection, luo);
}

void ReadFlbs(Inspection& inspection, LuoReport& luo) {
  Problems& problems = inspection.problems();
  if (luo.flbs_address == 0) return;
  if (!inspection.Claim(luo.flbs_address, abi::kLuoFlbPages * 4096, "LUO, FLBs")) return;
  const auto header = inspection.memory().Load<abi::LuoFlbHeaderSer>(luo.flbs_address);
  if (!header.ok()) {
    problems.Add("LUO, FLBs: cannot be read");
    return;
  }
  if (header->pgcnt != abi::kLuoFlbPages) {
    problems.Add(
        absl::StrCat("LUO, FLBs: on ", header->pgcnt, " pages and not on ", abi::kLuoFlbPages));
  }
  if (header->count > abi::kMaxFlbs) {
    problems.Add(absl::StrCat("LUO, FLBs: ", header->count, " of at most ", abi::kMaxFlbs));
    return;
  }
  for (uint64_t i = 0; i < header->count; ++i) {
    const auto ser = inspection.memory().Load<abi::LuoFlbSer>(luo.flbs_address + sizeof(*header) +
                                                              i * sizeof(abi::LuoFlbSer));
    if (!ser.ok()) break;
    luo.flbs.push_back({.name = StringField(ser->name, "an FLB's name", problems),
                        .data = ser->data,
                        .file_count = ser->count});
  }
}

// A session's name, and what its errors begin with.
std::string Name(Inspection& inspection, absl::Span<const char> field, SessionReport& session) {
  session.name = StringField(field, "a session's name", inspection.problems());
  if (session.name.empty()) inspection.problems().Add("a session has no name");
  return absl::StrCat("session \"", absl::CHexEscape(session.name), "\"");
}

// Files as they come, one entry after the other.
class FileTaker {
 public:
  FileTaker(Inspection& inspection, const std::string& what, SessionReport& session)
      : inspection_(inspection), what_(what), session_(session) {}

  void operator()(absl::Span<const uint8_t> entry) {
    const auto file = CopyOf<abi::LuoFileSer>(entry);
    if (!tokens_.insert(file.token).second) {
      inspection_.problems().Add(absl::StrFormat("%s has token %#x twice", what_, file.token));
    }
    session_.files.push_back(InspectFile(inspection_, what_, file));
  }

 private:
  Inspection& inspection_;
  const std::string& what_;
  SessionReport& session_;
  std::set<uint64_t> tokens_;
};

// --- luo-v1: a device tree, and arrays in place of block lists. ---

bool IsTree(Inspection& inspection, uint64_t address) {
  const auto start = inspection.memory().Load<std::array<uint8_t, 8>>(address);
  return start.ok() && IsDeviceTree(*start);
}

std::optional<vmm::Tree> ReadV1Tree(Inspection& inspection, uint64_t address) {
  std::vector<uint8_t> page(abi::kLuoV1TreeBytes);
  if (!inspection.memory().Read(address, absl::MakeSpan(page)).ok()) return std::nullopt;
  absl::StatusOr<vmm::Tree> tree = ReadDeviceTree(page);
  if (tree.ok()) return *std::move(tree);
  inspection.problems().Add(absl::StrCat("LUO's device tree: ", tree.status().message()));
  return std::nullopt;
}

// The u64 `property` of the child `name`, as it lay in memory, if the child is of one of
// `versions`.
std::optional<uint64_t> V1Address(Inspection& inspection, const vmm::Tree& root,
                                  absl::string_view name, absl::string_view property,
                                  absl::Span<const absl::string_view> versions) {
  Problems& problems = inspection.problems();
  const absl::StatusOr<const vmm::Tree*> node = root.Child(name);
  if (!node.ok()) {
    problems.Add(absl::StrCat("LUO's device tree: ", node.status().message()));
    return std::nullopt;
  }
  const std::string version = (*node)->GetString("compatible").value_or("");
  if (std::find(versions.begin(), versions.end(), version) == versions.end()) {
    problems.Add(absl::StrFormat("LUO: its %s is \"%s\", which is not known", name,
                                 absl::CHexEscape(version)));
    return std::nullopt;
  }
  const absl::StatusOr<uint64_t> address = (*node)->GetStruct<uint64_t>(property);
  if (address.ok()) return *address;
  problems.Add(absl::StrCat("LUO's device tree: ", address.status().message()));
  return std::nullopt;
}

SessionReport InspectV1Session(Inspection& inspection, const abi::LuoSessionSer& ser) {
  SessionReport session;
  const std::string what = Name(inspection, ser.name, session);
  session.file_count = ser.file_set.count;
  if (session.file_count == 0) return session;
  inspection.ForEachInArray(ser.file_set.files, 0, session.file_count, abi::kLuoV1MaxFiles,
                            sizeof(abi::LuoFileSer), what + ", files",
                            FileTaker(inspection, what, session));
  return session;
}

void ReadV1Sessions(Inspection& inspection, bool names_only, LuoReport& luo) {
  const auto header = inspection.memory().Load<abi::LuoV1SessionHeaderSer>(luo.sessions_address);
  if (!header.ok()) {
    inspection.problems().Add(
        absl::StrFormat("LUO, sessions: no memory at %#x", luo.sessions_address));
    return;
  }
  const uint64_t entry_size =
      names_only ? sizeof(abi::LuoV1SessionNameSer) : sizeof(abi::LuoSessionSer);
  inspection.ForEachInArray(
      luo.sessions_address, sizeof(*header), header->count, abi::kLuoV1MaxSessions, entry_size,
      "LUO, sessions", [&](absl::Span<const uint8_t> entry) {
        if (names_only) {
          Name(inspection, CopyOf<abi::LuoV1SessionNameSer>(entry).name,
               luo.sessions.emplace_back());
        } else {
          luo.sessions.push_back(InspectV1Session(inspection, CopyOf<abi::LuoSessionSer>(entry)));
        }
      });
  CheckNames(inspection, luo);
}

std::optional<LuoReport> InspectLuoV1(Inspection& inspection, uint64_t address) {
  if (!inspection.Claim(address, abi::kLuoV1TreeBytes, "LUO")) return std::nullopt;
  const std::optional<vmm::Tree> root = ReadV1Tree(inspection, address);
  if (!root.has_value()) return std::nullopt;
  LuoReport luo;
  luo.compatible = root->GetString("compatible").value_or("");
  if (luo.compatible != abi::kLuoV1Compatible) {
    inspection.problems().Add(
        absl::StrFormat("LUO: a device tree of \"%s\" at %#x, and only \"%s\" can be read",
                        absl::CHexEscape(luo.compatible), address, abi::kLuoV1Compatible));
    return std::nullopt;
  }
  luo.number = root->GetStruct<uint64_t>(abi::kLuoV1Number).value_or(0);
  const absl::string_view versions[] = {abi::kLuoV1SessionCompatible1,
                                        abi::kLuoV1SessionCompatible2};
  luo.sessions_address =
      V1Address(inspection, *root, abi::kLuoV1SessionNode, abi::kLuoV1SessionHeader, versions)
          .value_or(0);
  if (luo.sessions_address != 0) {
    const vmm::Tree& node = **root->Child(abi::kLuoV1SessionNode);
    ReadV1Sessions(inspection, node.GetString("compatible").value_or("") == versions[0], luo);
  }
  // FLBs came later than "luo-v1" did, and did not change its name.
  if (root->Child(abi::kLuoV1FlbNode).ok()) {
    luo.flbs_address = V1Address(inspection, *root, abi::kLuoV1FlbNode, abi::kLuoV1FlbHeader,
                                 {abi::kLuoV1FlbCompatible})
                           .value_or(0);
    ReadFlbs(inspection, luo);
  }
  return luo;
}

}  // namespace

FileReport InspectFile(Inspection& inspection, const std::string& session,
                       const abi::LuoFileSer& ser) {
  FileReport file{.token = ser.token, .data = ser.data};
  const std::string what = absl::StrFormat("%s, token %#x", session, ser.token);
  file.compatible =
      StringField(ser.compatible, absl::StrCat(what, ", compatible"), inspection.problems());
  if (file.compatible == abi::kMemfdCompatible) {
    file.memfd = InspectMemfd(inspection, what, ser.data);
  }
  return file;
}

SessionReport InspectSession(Inspection& inspection, const abi::LuoSessionSer& ser) {
  SessionReport session;
  const std::string what = Name(inspection, ser.name, session);
  session.file_count = ser.file_set.count;
  const uint64_t found =
      inspection.ForEachEntry(ser.file_set.files, sizeof(abi::LuoFileSer), what + ", files",
                              FileTaker(inspection, what, session));
  if (found != session.file_count) {
    inspection.problems().Add(
        absl::StrCat(what, " says it has ", session.file_count, " files, and has ", found));
  }
  return session;
}

std::optional<LuoReport> InspectLuo(Inspection& inspection, uint64_t address, uint64_t size) {
  if (IsTree(inspection, address)) return InspectLuoV1(inspection, address);
  if (size < sizeof(abi::LuoSer)) {
    inspection.problems().Add(absl::StrCat("LUO: of ", size, " bytes, too few"));
    return std::nullopt;
  }
  if (!inspection.Claim(address, size, "LUO")) return std::nullopt;
  const absl::StatusOr<abi::LuoSer> ser = inspection.memory().Load<abi::LuoSer>(address);
  if (!ser.ok()) {
    inspection.problems().Add(absl::StrFormat("LUO: cannot be read at %#x", address));
    return std::nullopt;
  }
  LuoReport luo;
  luo.compatible = std::string(ser->compatible, strnlen(ser->compatible, sizeof(ser->compatible)));
  if (luo.compatible != abi::kLuoCompatible) {
    inspection.problems().Add(absl::StrFormat(
        "LUO: \"%s\" at %#x, and only \"%s\" and \"%s\" can be read. A kernel frees this page "
        "once it has read it, and what lies there now may be anything",
        absl::CHexEscape(luo.compatible), address, abi::kLuoCompatible, abi::kLuoV1Compatible));
    return std::nullopt;
  }
  luo.number = ser->liveupdate_num;
  luo.sessions_address = ser->sessions_pa;
  luo.flbs_address = ser->flbs_pa;
  ReadSessions(inspection, luo);
  ReadFlbs(inspection, luo);
  return luo;
}

}  // namespace luo
