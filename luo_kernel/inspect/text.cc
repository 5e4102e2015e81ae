#include "luo_kernel/inspect/text.h"

#include <linux/fcntl.h>

#include <algorithm>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "luo_kernel/abi/luo_v5.h"

namespace luo {
namespace {

// What a terminal has at least.
constexpr size_t kColumns = 80;
constexpr int kBarColumns = 40;
constexpr size_t kSomeSessions = 20;
constexpr size_t kSomeFiles = 8;
constexpr size_t kSomeProblems = 20;

constexpr char kBold[] = "\033[1m";
constexpr char kRed[] = "\033[31m";
constexpr char kCyan[] = "\033[36m";
constexpr char kDim[] = "\033[2m";
constexpr char kEnd[] = "\033[0m";

// Columns that UTF-8 takes.
size_t ColumnsOf(absl::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return (c & 0xc0) != 0x80; });
}

// `text` in lines of kColumns, of which the first begins at `indent` already, the others with as
// many spaces. Words are kept whole.
std::string Wrapped(absl::string_view text, size_t indent) {
  std::string wrapped;
  size_t column = indent;
  for (const absl::string_view word : absl::StrSplit(text, ' ')) {
    if (!wrapped.empty() && column + 1 + ColumnsOf(word) > kColumns) {
      absl::StrAppend(&wrapped, "\n", std::string(indent, ' '));
      column = indent;
    } else if (!wrapped.empty()) {
      wrapped += ' ';
      ++column;
    }
    absl::StrAppend(&wrapped, word);
    column += ColumnsOf(word);
  }
  return wrapped;
}

// "1 file", "2 files".
std::string Count(uint64_t count, absl::string_view what) {
  return absl::StrCat(count, " ", what, count == 1 ? "" : "s");
}

// A bar of `part` of `whole`, in eighths of a column; what is there at all is seen.
std::string Bar(uint64_t part, uint64_t whole) {
  static constexpr const char* kEighths[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  if (part == 0 || whole == 0) return "";
  const double columns = static_cast<double>(part) / static_cast<double>(whole) * kBarColumns;
  const int eighths = std::clamp(static_cast<int>(columns * 8), 1, kBarColumns * 8);
  std::string bar;
  for (int i = 0; i < eighths / 8; ++i) bar += "█";
  return bar + kEighths[eighths % 8];
}

std::string Seals(uint32_t seals) {
  static constexpr struct {
    uint32_t seal;
    const char* name;
  } kNames[] = {{0x01, "seal"},  {0x02, "shrink"},       {0x04, "grow"},
                {0x08, "write"}, {0x10, "future-write"}, {0x20, "exec"}};
  std::vector<std::string> names;
  for (const auto& [seal, name] : kNames) {
    if ((seals & seal) != 0) names.push_back(name);
    seals &= ~seal;
  }
  if (seals != 0) names.push_back(absl::StrFormat("%#x", seals));
  return absl::StrJoin(names, ",");
}

std::string Folios(const CountBySize& counts) {
  std::vector<std::string> parts;
  for (auto size = counts.rbegin(); size != counts.rend(); ++size) {
    parts.push_back(absl::StrCat(size->second, " × ", HumanBytes(size->first)));
  }
  return parts.empty() ? "no folios" : absl::StrJoin(parts, " + ");
}

class Writer {
 public:
  Writer(const Report& report, const TextOptions& options) : report_(report), options_(options) {}

  std::string Write() {
    absl::StrAppend(&text_, Colored(kBold, report_.source));
    if (!report_.kernel.empty()) absl::StrAppend(&text_, ", Linux ", report_.kernel);
    if (report_.memory_bytes != 0) {
      absl::StrAppend(&text_, ", ", HumanBytes(report_.memory_bytes), " of memory");
    }
    absl::StrAppend(&text_, "\n");
    if (report_.handovers.empty()) absl::StrAppend(&text_, "no handover found\n");
    for (const HandoverReport& handover : report_.handovers) WriteHandover(handover);
    for (const std::string& note : report_.notes) {
      absl::StrAppend(&text_, "note: ", Wrapped(note, 6), "\n");
    }
    return std::move(text_);
  }

 private:
  std::string Colored(const char* color, absl::string_view text) const {
    return options_.color ? absl::StrCat(color, text, kEnd) : std::string(text);
  }

  static std::string Title(const HandoverReport& handover) {
    if (handover.address == 0) return "handover";
    return absl::StrFormat("handover at %#x", handover.address);
  }

  void WriteHandover(const HandoverReport& handover) {
    absl::StrAppend(
        &text_, "\n", Colored(kBold, Title(handover)), " ",
        Colored(kDim, absl::StrCat("(", handover.origin, ")")), ": ",
        handover.compatible.empty() ? "unreadable" : absl::CHexEscape(handover.compatible));
    if (handover.kexec.has_value()) {
      absl::StrAppend(&text_, "\n  left by Linux ",
                      absl::CHexEscape(handover.kexec->previous_release), " for kexec ",
                      handover.kexec->count, " since power-on");
    }
    absl::StrAppend(&text_, "\n");
    WritePreserved(handover);
    for (const MemoryRange& region : handover.scratch) {
      absl::StrAppendFormat(&text_, "  scratch memory %#x, %s\n", region.address,
                            HumanBytes(region.size));
    }
    for (const SubtreeReport& subtree : handover.subtrees) {
      absl::StrAppendFormat(&text_, "  subtree %-16s %#12x  %d bytes\n",
                            absl::CHexEscape(subtree.name), subtree.address, subtree.size);
    }
    if (handover.luo.has_value()) WriteLuo(*handover.luo);
    WriteUnassigned(handover.unassigned);
    WriteProblems(handover.problems);
  }

  void WritePreserved(const HandoverReport& handover) {
    // Where the map is lost nobody knows.
    if (handover.map_pages == 0) return;
    const uint64_t unknown = handover.preserved_bytes > handover.claimed_bytes
                                 ? handover.preserved_bytes - handover.claimed_bytes
                                 : 0;
    absl::StrAppendFormat(&text_, "  preserved %s", HumanBytes(handover.preserved_bytes));
    if (unknown != 0) {
      absl::StrAppendFormat(&text_, ", %s of it in no file below", HumanBytes(unknown));
    }
    absl::StrAppendFormat(&text_, "; its map takes %s\n", HumanBytes(handover.map_pages * 4096));
    uint64_t most = 0;
    for (const auto& [size, count] : handover.preserved) most = std::max(most, size * count);
    for (auto size = handover.preserved.rbegin(); size != handover.preserved.rend(); ++size) {
      const uint64_t bytes = size->first * size->second;
      absl::StrAppendFormat(&text_, "  %8s ×%-8d %9s %s\n", HumanBytes(size->first), size->second,
                            HumanBytes(bytes), Colored(kCyan, Bar(bytes, most)));
    }
  }

  void WriteLuo(const LuoReport& luo) {
    uint64_t files = 0;
    for (const SessionReport& session : luo.sessions) files += session.files.size();
    absl::StrAppend(&text_, "  ", Colored(kBold, absl::CHexEscape(luo.compatible)));
    // It is lost where the handover was salvaged.
    if (luo.number != 0) absl::StrAppend(&text_, ", live update ", luo.number);
    absl::StrAppend(&text_, ": ", Count(luo.sessions.size(), "session"), ", ", Count(files, "file"),
                    ", ", Count(luo.flbs.size(), "FLB"), "\n");
    if (luo.sessions_address == 0) {
      absl::StrAppend(&text_, "    no session is written down",
                      luo.compatible == abi::kLuoCompatible
                          ? ": the kernel does that in reboot(KEXEC)\n"
                          : ", or it could not be read\n");
    }
    size_t left = options_.all ? luo.sessions.size() : kSomeSessions;
    for (const SessionReport& session : luo.sessions) {
      if (left-- == 0) {
        absl::StrAppendFormat(&text_, "    … and %d more sessions\n",
                              luo.sessions.size() - kSomeSessions);
        break;
      }
      WriteSession(session);
    }
    for (const FlbReport& flb : luo.flbs) {
      absl::StrAppendFormat(&text_, "    FLB %s: %s, data %#x\n", absl::CHexEscape(flb.name),
                            Count(flb.file_count, "file"), flb.data);
    }
  }

  void WriteSession(const SessionReport& session) {
    uint64_t bytes = 0;
    for (const FileReport& file : session.files)
      bytes += file.memfd.has_value() ? file.memfd->size : 0;
    absl::StrAppendFormat(&text_, "    %s  %s, %s\n",
                          Colored(kBold, absl::StrCat("\"", absl::CHexEscape(session.name), "\"")),
                          Count(session.files.size(), "file"), HumanBytes(bytes));
    size_t left = options_.all ? session.files.size() : kSomeFiles;
    for (const FileReport& file : session.files) {
      if (left-- == 0) {
        absl::StrAppendFormat(&text_, "      … and %d more files\n",
                              session.files.size() - kSomeFiles);
        break;
      }
      WriteFile(file);
    }
  }

  void WriteFile(const FileReport& file) {
    absl::StrAppendFormat(&text_, "      %-#18x  %-10s", file.token,
                          absl::CHexEscape(file.compatible));
    if (!file.memfd.has_value()) {
      absl::StrAppendFormat(&text_, "  data %#x\n", file.data);
      return;
    }
    WriteMemfd(*file.memfd);
  }

  void WriteMemfd(const MemfdReport& memfd) {
    absl::StrAppendFormat(&text_, " %9s", HumanBytes(memfd.size));
    std::vector<std::string> parts = {Folios(memfd.FoliosBySize())};
    if (memfd.position != 0) parts.push_back(absl::StrCat("at ", memfd.position));
    if (memfd.seals != 0) parts.push_back(absl::StrCat("sealed ", Seals(memfd.seals)));
    // Behind the token or address, the handler and the size.
    constexpr size_t kIndent = 26;
    size_t column = 46;
    for (const std::string& part : parts) {
      const bool fits = column + 2 + ColumnsOf(part) <= kColumns;
      absl::StrAppend(&text_, fits ? "  " : "\n" + std::string(kIndent, ' '), part);
      column = (fits ? column + 2 : kIndent) + ColumnsOf(part);
    }
    absl::StrAppend(&text_, "\n");
  }

  void WriteUnassigned(const std::vector<MemfdReport>& memfds) {
    if (memfds.empty()) return;
    uint64_t bytes = 0;
    for (const MemfdReport& memfd : memfds) bytes += memfd.size;
    absl::StrAppendFormat(&text_, "    %s  %s, %s\n", Colored(kBold, "in some session"),
                          Count(memfds.size(), "memfd"), HumanBytes(bytes));
    size_t left = options_.all ? memfds.size() : kSomeFiles;
    for (const MemfdReport& memfd : memfds) {
      if (left-- == 0) {
        absl::StrAppendFormat(&text_, "      … and %d more files\n", memfds.size() - kSomeFiles);
        break;
      }
      absl::StrAppendFormat(&text_, "      at %#-15x  %-10s", memfd.address, "memfd-v2");
      WriteMemfd(memfd);
    }
  }

  void WriteProblems(const Problems& problems) {
    if (problems.empty()) {
      absl::StrAppend(&text_, "  nothing is wrong with it\n");
      return;
    }
    const uint64_t count = problems.kept().size() + problems.dropped();
    absl::StrAppend(&text_, "  ", Colored(kRed, absl::StrCat("wrong with it: ", count)), "\n");
    const size_t shown = options_.all ? problems.kept().size() : kSomeProblems;
    for (size_t i = 0; i < std::min(shown, problems.kept().size()); ++i) {
      absl::StrAppend(&text_, "  - ", Colored(kRed, Wrapped(problems.kept()[i], 4)), "\n");
    }
    if (count > shown) absl::StrAppend(&text_, "  - … and ", count - shown, " more\n");
  }

  const Report& report_;
  const TextOptions& options_;
  std::string text_;
};

}  // namespace

std::string HumanBytes(uint64_t bytes) {
  static constexpr const char* kUnits[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  int unit = 0;
  double value = static_cast<double>(bytes);
  while (value >= 1024 && unit < 6) {
    value /= 1024;
    ++unit;
  }
  if (value == static_cast<double>(static_cast<uint64_t>(value))) {
    return absl::StrFormat("%d %s", static_cast<uint64_t>(value), kUnits[unit]);
  }
  return absl::StrFormat("%.1f %s", value, kUnits[unit]);
}

std::string Text(const Report& report, const TextOptions& options) {
  return Writer(report, options).Write();
}

}  // namespace luo
