// Makes the report of a demonstration from what its scenario left.
//
//   report --share FOLDER --exit-code N [--json FILE] [--svg FILE]
//
// FOLDER is the test host's share, N the scenario's exit code. The text goes to stdout. Exit code
// 0: the guest survived and all was right; 1: not so, and the text and the JSON say why; 2: wrong
// usage, or a file cannot be written.
#include <stdio.h>

#include <CLI/CLI.hpp>
#include <fstream>
#include <string>

#include "tools/demonstration/evidence.h"
#include "tools/demonstration/findings.h"
#include "tools/demonstration/json.h"
#include "tools/demonstration/svg.h"
#include "tools/demonstration/text.h"

namespace {

constexpr int kFailed = 1;
constexpr int kUsage = 2;

bool WriteFile(const std::string& path, const std::string& text) {
  std::ofstream file(path, std::ios::trunc);
  if (file << text << std::flush) return true;
  fprintf(stderr, "report: cannot write %s\n", path.c_str());
  return false;
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("Makes the report of a demonstration.", "report");
  std::string share, json_path, svg_path;
  int exit_code = 0;
  app.add_option("--share", share, "The test host's share")->required();
  app.add_option("--exit-code", exit_code, "The scenario's")->required();
  app.add_option("--json", json_path, "Where to write the JSON");
  app.add_option("--svg", svg_path, "Where to write the drawing, if there is something to draw");
  try {
    app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : kUsage;
  }
  using namespace vmm::demonstration;  // NOLINT
  const Findings findings = Judge(ReadEvidence(share), exit_code);
  fputs(Text(findings).c_str(), stdout);
  if (!json_path.empty() && !WriteFile(json_path, Json(findings))) return kUsage;
  if (!svg_path.empty() && findings.timeline.has_value() &&
      !WriteFile(svg_path, Svg(findings, *findings.timeline))) {
    return kUsage;
  }
  return findings.ok() ? 0 : kFailed;
}
