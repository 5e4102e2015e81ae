#include "tools/demonstration/svg.h"

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

// In pixels. From left to right: the rows' names, the plot, the rows' values.
constexpr int kWidth = 960;
constexpr int kMargin = 36;
constexpr int kPlotLeft = 140;
constexpr int kPlotRight = 822;
constexpr int kRowHeight = 30;
constexpr int kBarHeight = 16;
constexpr int kLineHeight = 18;
constexpr int kTileColumns = 3;
constexpr int kTileHeight = 104;

// Colours only in classes, as one style sheet has both sets. Green: the guest runs. Orange: not.
constexpr char kStyle[] = R"(<style>
text { font: 13px system-ui, 'Segoe UI', 'DejaVu Sans', sans-serif; fill: #1f2328; }
.title { font-size: 21px; font-weight: 600; }
.value { font-size: 21px; font-weight: 600; }
.muted { fill: #656d76; }
.small { font-size: 12px; }
.end { text-anchor: end; }
.middle { text-anchor: middle; }
.strong { font-weight: 600; }
.page { fill: #ffffff; }
.grid { stroke: #e3e7eb; }
.rule { stroke: #d0d7de; }
.band { fill: #fdf0e6; }
.runs { fill: #2c8a5b; }
.stands { fill: #d9691e; }
.bare { fill: #9aa4ae; }
.failed { fill: #cf222e; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .muted { fill: #9198a1; }
  .page { fill: #0d1117; }
  .grid { stroke: #21262d; }
  .rule { stroke: #30363d; }
  .band { fill: #2b1d12; }
  .runs { fill: #3fb277; }
  .stands { fill: #f0883e; }
  .bare { fill: #6e7681; }
  .failed { fill: #ff7b72; }
}
</style>
)";

class Drawing {
 public:
  Drawing(const Findings& findings, const Timeline& timeline)
      : findings_(findings), timeline_(timeline) {}

  std::string Draw() {
    Header();
    Chart();
    Tiles();
    const int height = y_ + kMargin / 2;
    return absl::StrFormat(
               "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" "
               "viewBox=\"0 0 %d %d\" role=\"img\">\n<title>%s</title>\n%s"
               "<rect class=\"page\" width=\"%d\" height=\"%d\" rx=\"8\"/>\n",
               kWidth, height, kWidth, height, EscapeXml(Headline(findings_)), kStyle, kWidth,
               height) +
           body_ + "</svg>\n";
  }

 private:
  double X(double ms) const {
    const double part = (ms - timeline_.start_ms) / (timeline_.end_ms - timeline_.start_ms);
    return kPlotLeft + std::clamp(part, 0., 1.) * (kPlotRight - kPlotLeft);
  }

  void Write(double x, double y, const char* classes, absl::string_view text) {
    absl::StrAppendFormat(&body_, "<text x=\"%.1f\" y=\"%.1f\" class=\"%s\">%s</text>\n", x, y,
                          classes, EscapeXml(text));
  }

  void Box(double x, double y, double width, double height, const char* classes, int radius) {
    absl::StrAppendFormat(
        &body_,
        "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" rx=\"%d\" class=\"%s\"/>\n", x,
        y, width, height, radius, classes);
  }

  void Line(double x1, double y1, double x2, double y2, const char* classes) {
    absl::StrAppendFormat(&body_,
                          "<line x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\" class=\"%s\"/>\n",
                          x1, y1, x2, y2, classes);
  }

  void Dot(double x, double y) {
    absl::StrAppendFormat(&body_, "<circle cx=\"%.1f\" cy=\"%.1f\" r=\"3.5\" class=\"runs\"/>\n", x,
                          y);
  }

  void Header() {
    y_ = kMargin + 12;
    Write(kMargin, y_, findings_.ok() ? "title" : "title failed", Headline(findings_));
    y_ += 24;
    Write(kMargin, y_, "muted", absl::StrJoin(Cast(findings_), " "));
    for (const std::string& failure : findings_.failures) {
      y_ += kLineHeight + 2;
      Write(kMargin, y_, "failed", failure);
    }
    y_ += 40;
  }

  void Chart() {
    const int rows = static_cast<int>(timeline_.phases.size()) + 2;
    const int bottom = y_ + 12 + rows * kRowHeight;
    Box(X(timeline_.pause_ms), y_ + 8, X(timeline_.run_ms) - X(timeline_.pause_ms), bottom - y_ - 8,
        "band", 0);
    for (double tick : Ticks(timeline_.start_ms, timeline_.end_ms)) {
      Line(X(tick), y_ + 8, X(tick), bottom, "grid");
      Write(X(tick), y_, "muted small middle", TickLabel(tick));
    }
    y_ += 8;
    Guest();
    for (const Phase& phase : timeline_.phases) {
      Row(phase.name, phase.start_ms, phase.duration_ms(), phase.guest_runs ? "runs" : "stands");
    }
    if (findings_.bare_kexec_ms.has_value()) {
      // Where this update's kexec began, to be compared with it.
      Row("bare kexec", timeline_.kexec_ms, *findings_.bare_kexec_ms, "bare");
    }
    y_ = bottom;
    Legend();
  }

  void Guest() {
    const double middle = y_ + kRowHeight / 2.;
    Write(kMargin, middle + 4.5, "strong", "guest");
    for (double beat : timeline_.heartbeats_ms) Dot(X(beat), middle);
    const double left = X(timeline_.pause_ms);
    const double right = X(timeline_.run_ms);
    if (right - left > 120 && findings_.guest_blackout_ms.has_value()) {
      Write((left + right) / 2, middle + 4.5, "strong middle",
            absl::StrCat("blackout ", Milliseconds(*findings_.guest_blackout_ms)));
    }
    y_ += kRowHeight;
  }

  // What is too short to be seen is a pixel and a half wide.
  void Row(const std::string& name, double start_ms, double duration_ms, const char* classes) {
    const double left = X(start_ms);
    const double width = std::max(X(start_ms + duration_ms) - left, 1.5);
    const double text_y = y_ + kRowHeight / 2. + 4.5;
    Write(kMargin, text_y, "", name);
    Box(left, y_ + (kRowHeight - kBarHeight) / 2., width, kBarHeight, classes, width > 6 ? 3 : 0);
    Write(kWidth - kMargin, text_y, "end", Milliseconds(duration_ms));
    y_ += kRowHeight;
  }

  void Legend() {
    y_ += 26;
    double x = kPlotLeft;
    Dot(x + 5, y_ - 4.5);
    Write(x + 16, y_, "muted small", "a heartbeat of the guest");
    x += 190;
    for (const auto& [classes, text] :
         {std::pair("runs", "the guest runs"), std::pair("stands", "it stands still"),
          std::pair("bare", "a kexec with no guest")}) {
      Box(x, y_ - 10, 11, 11, classes, 2);
      Write(x + 18, y_, "muted small", text);
      x += 140;
    }
    y_ += 26;
  }

  void Tiles() {
    Line(kMargin, y_, kWidth - kMargin, y_, "rule");
    const std::vector<Fact> facts = FactsOf(findings_);
    const int width = (kWidth - 2 * kMargin) / kTileColumns;
    for (size_t i = 0; i < facts.size(); ++i) {
      const double x = kMargin + width * static_cast<int>(i % kTileColumns);
      double y = y_ + kTileHeight * static_cast<int>(i / kTileColumns) + 30;
      Write(x, y, "muted", facts[i].name);
      y += 26;
      Write(x, y, "value", facts[i].value);
      y += 4;
      for (const std::string& note : facts[i].notes) {
        Write(x, y += kLineHeight - 1, "muted small", note);
      }
    }
    y_ += kTileHeight * static_cast<int>((facts.size() + kTileColumns - 1) / kTileColumns) + 8;
  }

  const Findings& findings_;
  const Timeline& timeline_;
  std::string body_;
  int y_ = 0;
};

}  // namespace

std::string Svg(const Findings& findings, const Timeline& timeline) {
  return Drawing(findings, timeline).Draw();
}

std::string EscapeXml(absl::string_view text) {
  std::string escaped;
  for (const char c : text) {
    switch (c) {
      case '&':
        escaped += "&amp;";
        break;
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&apos;";
        break;
      default:
        // ASCII only: other bytes may be no UTF-8 (a guest's words).
        escaped += c >= ' ' && c <= '~' ? c : '?';
    }
  }
  return escaped;
}

}  // namespace vmm::demonstration
