#include "luo_kernel/inspect/luo_reader.h"

#include <string.h>

#include <set>
#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "luo_kernel/abi/luo_v5.h"
#include "luo_kernel/abi/memfd_v2.h"
#include "luo_kernel/inspect/memfd_reader.h"

namespace luo {
namespace {

template <typename T>
T CopyOf(absl::Span<const uint8_t> entry) {
  T value;
  memcpy(&value, entry.data(), sizeof(T));
  return value;
}

void ReadSessions(Inspection& inspection, LuoReport& luo) {
  std::set<std::string> names;
  inspection.ForEachEntry(
      luo.sessions_address, sizeof(abi::LuoSessionSer), "LUO, sessions",
      [&](absl::Span<const uint8_t> entry) {
        luo.sessions.push_back(InspectSession(inspection, CopyOf<abi::LuoSessionSer>(entry)));
        const std::string& name = luo.sessions.back().name;
        if (!names.insert(name).second) {
          inspection.problems().Add(
              absl::StrCat("there are two sessions \"", absl::CHexEscape(name), "\""));
        }
      });
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
  session.name = StringField(ser.name, "a session's name", inspection.problems());
  session.file_count = ser.file_set.count;
  const std::string what = absl::StrCat("session \"", absl::CHexEscape(session.name), "\"");
  if (session.name.empty()) inspection.problems().Add("a session has no name");
  std::set<uint64_t> tokens;
  const uint64_t found = inspection.ForEachEntry(
      ser.file_set.files, sizeof(abi::LuoFileSer), what + ", files",
      [&](absl::Span<const uint8_t> entry) {
        const auto file = CopyOf<abi::LuoFileSer>(entry);
        if (!tokens.insert(file.token).second) {
          inspection.problems().Add(absl::StrFormat("%s has token %#x twice", what, file.token));
        }
        session.files.push_back(InspectFile(inspection, what, file));
      });
  if (found != session.file_count) {
    inspection.problems().Add(
        absl::StrCat(what, " says it has ", session.file_count, " files, and has ", found));
  }
  return session;
}

std::optional<LuoReport> InspectLuo(Inspection& inspection, uint64_t address, uint64_t size) {
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
    inspection.problems().Add(
        absl::StrFormat("LUO: \"%s\" at %#x, and only \"%s\" can be read. A kernel frees this "
                        "page once it has read it, and what lies there now may be anything",
                        absl::CHexEscape(luo.compatible), address, abi::kLuoCompatible));
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
