#include "tools/demonstration/text.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "tools/demonstration/axis.h"
#include "tools/demonstration/facts.h"

namespace vmm::demonstration {
namespace {

constexpr int kColumns = 66;
constexpr char kGuestRuns[] = "▒";
constexpr char kGuestStands[] = "█";
constexpr char kBareKexec[] = "░";
constexpr char kHeartbeat[] = "•";
// A line of the chart, then one of the facts: name, value, the rest.
constexpr char kRow[] = "  %-10s %14s  %s\n";
constexpr char kFact[] = "  %-11s %-17s %s\n";

// The chart's area: a cell is a column.
class Row {
 public:
  explicit Row(const Timeline& timeline) : timeline_(timeline), cells_(kColumns, " ") {}

  int ColumnOf(double ms) const {
    const double part = (ms - timeline_.start_ms) / (timeline_.end_ms - timeline_.start_ms);
    return std::clamp(static_cast<int>(part * kColumns), 0, kColumns - 1);
  }
  // At least one cell, for what is short is still there.
  void Fill(double start_ms, double end_ms, const char* with) {
    const int first = ColumnOf(start_ms);
    const int last = std::max(first, ColumnOf(end_ms) - 1);
    std::fill(cells_.begin() + first, cells_.begin() + last + 1, with);
  }
  void Write(double ms, const std::string& text) {
    for (size_t i = 0; i < text.size() && ColumnOf(ms) + i < cells_.size(); ++i) {
      cells_[ColumnOf(ms) + i] = text[i];
    }
  }
  std::string str() const {
    std::string line = absl::StrJoin(cells_, "");
    return line.substr(0, line.find_last_not_of(' ') + 1);
  }

 private:
  const Timeline& timeline_;
  std::vector<std::string> cells_;
};

std::string Chart(const Findings& findings) {
  const Timeline& timeline = *findings.timeline;
  Row axis(timeline);
  for (double tick : Ticks(timeline.start_ms, timeline.end_ms)) axis.Write(tick, TickLabel(tick));
  Row hearts(timeline);
  for (double beat : timeline.heartbeats_ms) hearts.Fill(beat, beat, kHeartbeat);

  std::string text = absl::StrFormat(kRow, "", "", axis.str());
  absl::StrAppendFormat(&text, kRow, "guest", "its heartbeats", hearts.str());
  for (const Phase& phase : timeline.phases) {
    Row bar(timeline);
    bar.Fill(phase.start_ms, phase.end_ms, phase.guest_runs ? kGuestRuns : kGuestStands);
    absl::StrAppendFormat(&text, kRow, phase.name, Milliseconds(phase.duration_ms()), bar.str());
  }
  if (findings.bare_kexec_ms.has_value()) {
    Row bar(timeline);
    bar.Fill(timeline.kexec_ms, timeline.kexec_ms + *findings.bare_kexec_ms, kBareKexec);
    absl::StrAppendFormat(&text, kRow, "bare kexec", Milliseconds(*findings.bare_kexec_ms),
                          bar.str());
  }
  absl::StrAppendFormat(&text, kRow, "", "",
                        absl::StrCat(kHeartbeat, " heartbeat   ", kGuestRuns, " the guest runs   ",
                                     kGuestStands, " it stands still   ", kBareKexec, " no guest"));
  return text;
}

}  // namespace

std::string Text(const Findings& findings) {
  std::string text = absl::StrCat(Headline(findings), "\n");
  for (const std::string& failure : findings.failures)
    absl::StrAppend(&text, "  - ", failure, "\n");
  if (findings.timeline.has_value()) {
    absl::StrAppend(&text, absl::StrJoin(Cast(findings), "\n"), "\n\n", Chart(findings));
  }
  const std::vector<Fact> facts = FactsOf(findings);
  if (!facts.empty()) absl::StrAppend(&text, "\n");
  for (const Fact& fact : facts) {
    std::string name = fact.name;
    std::string value = fact.value;
    for (const std::string& note : fact.notes) {
      absl::StrAppendFormat(&text, kFact, std::exchange(name, ""), std::exchange(value, ""), note);
    }
  }
  return text;
}

}  // namespace vmm::demonstration
