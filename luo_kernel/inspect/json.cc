#include "luo_kernel/inspect/json.h"

#include <nlohmann/json.hpp>

#include "absl/strings/escaping.h"
#include "absl/strings/str_format.h"

namespace luo {
namespace {

using OrderedJson = nlohmann::ordered_json;

std::string Hex(uint64_t number) { return absl::StrFormat("0x%x", number); }

OrderedJson Counts(const CountBySize& counts) {
  OrderedJson json = OrderedJson::object();
  for (const auto& [size, count] : counts) json[std::to_string(size)] = count;
  return json;
}

OrderedJson Memfd(const MemfdReport& memfd) {
  OrderedJson runs = OrderedJson::array();
  for (const FolioRun& run : memfd.folios) {
    runs.push_back({{"address", Hex(run.address)},
                    {"index", run.index},
                    {"folio_bytes", run.folio_bytes},
                    {"count", run.count}});
  }
  return {{"size", memfd.size},
          {"position", memfd.position},
          {"seals", memfd.seals},
          {"flags", memfd.flags},
          {"folio_count", memfd.folio_count},
          {"folios_by_bytes", Counts(memfd.FoliosBySize())},
          {"metadata_bytes", memfd.metadata_bytes},
          {"folio_runs", std::move(runs)}};
}

OrderedJson Extracted(const MemfdReport& memfd, const ExtractedFiles& extracted) {
  const auto path = extracted.find(memfd.address);
  return path != extracted.end() ? OrderedJson(path->second) : OrderedJson();
}

OrderedJson Luo(const LuoReport& luo, const ExtractedFiles* extracted) {
  OrderedJson sessions = OrderedJson::array();
  for (const SessionReport& session : luo.sessions) {
    OrderedJson files = OrderedJson::array();
    for (const FileReport& file : session.files) {
      OrderedJson json = {{"token", Hex(file.token)},
                          {"compatible", file.compatible},
                          {"data", Hex(file.data)},
                          {"memfd", nullptr}};
      if (file.memfd.has_value()) {
        json["memfd"] = Memfd(*file.memfd);
        if (extracted != nullptr) json["extracted"] = Extracted(*file.memfd, *extracted);
      }
      files.push_back(std::move(json));
    }
    sessions.push_back({{"name", session.name},
                        {"name_hex", absl::BytesToHexString(session.name)},
                        {"file_count", session.file_count},
                        {"files", std::move(files)}});
  }
  OrderedJson flbs = OrderedJson::array();
  for (const FlbReport& flb : luo.flbs) {
    flbs.push_back({{"name", flb.name}, {"data", Hex(flb.data)}, {"file_count", flb.file_count}});
  }
  return {{"compatible", luo.compatible},
          {"number", luo.number},
          {"written", luo.sessions_address != 0},
          {"sessions", std::move(sessions)},
          {"flbs", std::move(flbs)}};
}

OrderedJson Handover(const HandoverReport& handover, const ExtractedFiles* extracted) {
  OrderedJson subtrees = OrderedJson::array();
  for (const SubtreeReport& subtree : handover.subtrees) {
    subtrees.push_back(
        {{"name", subtree.name}, {"address", Hex(subtree.address)}, {"size", subtree.size}});
  }
  OrderedJson scratch = OrderedJson::array();
  for (const MemoryRange& region : handover.scratch) {
    scratch.push_back({{"address", Hex(region.address)}, {"size", region.size}});
  }
  OrderedJson json = {{"address", Hex(handover.address)},
                      {"origin", handover.origin},
                      {"compatible", handover.compatible},
                      {"scratch", std::move(scratch)},
                      {"map_address", Hex(handover.map_address)},
                      {"map_bytes", nullptr},
                      {"preserved_bytes", nullptr},
                      {"preserved_by_bytes", nullptr},
                      {"claimed_bytes", handover.claimed_bytes},
                      {"subtrees", std::move(subtrees)},
                      {"kexec", nullptr},
                      {"luo", nullptr},
                      {"unassigned", OrderedJson::array()},
                      {"problems", handover.problems.kept()},
                      {"more_problems", handover.problems.dropped()}};
  // Where the map could not be read nobody knows.
  if (handover.map_pages != 0) {
    json["map_bytes"] = handover.map_pages * 4096;
    json["preserved_bytes"] = handover.preserved_bytes;
    json["preserved_by_bytes"] = Counts(handover.preserved);
  }
  if (handover.kexec.has_value()) {
    json["kexec"] = {{"previous_release", handover.kexec->previous_release},
                     {"count", handover.kexec->count}};
  }
  if (handover.luo.has_value()) json["luo"] = Luo(*handover.luo, extracted);
  for (const MemfdReport& memfd : handover.unassigned) {
    OrderedJson file = {{"address", Hex(memfd.address)}, {"memfd", Memfd(memfd)}};
    if (extracted != nullptr) file["extracted"] = Extracted(memfd, *extracted);
    json["unassigned"].push_back(std::move(file));
  }
  return json;
}

}  // namespace

std::string Json(const Report& report, const ExtractedFiles* extracted) {
  OrderedJson json = {{"source", report.source},
                      {"kernel", report.kernel},
                      {"memory_bytes", report.memory_bytes},
                      {"handovers", OrderedJson::array()},
                      {"notes", report.notes}};
  for (const HandoverReport& handover : report.handovers) {
    json["handovers"].push_back(Handover(handover, extracted));
  }
  // Names in memory need not be UTF-8.
  return json.dump(2, ' ', false, OrderedJson::error_handler_t::replace) + "\n";
}

}  // namespace luo
